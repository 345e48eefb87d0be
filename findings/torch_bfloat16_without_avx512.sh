#!/usr/bin/env bash
# torch 2.13.0 on a processor with AVX2 alone (or ONEDNN_MAX_CPU_ISA=AVX2): autocast takes bfloat16 without a word, and a training
# step of 3x3 convolutions then takes over ten times the CPU seconds of float32, since oneDNN has no kernel and its reference runs.
# torch.amp.is_autocast_available tells nothing of it; torch.backends.cpu.get_cpu_capability() does ("AVX2").
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6
ONEDNN_MAX_CPU_ISA=AVX2 "$work/venv/bin/python" - <<'PY'
import time, warnings
import torch

torch.set_num_threads(1)
network = torch.nn.Sequential(*(torch.nn.Conv2d(48, 48, 3, padding=1) for _ in range(4)))
given = torch.randn(2, 48, 48, 48)

def step(low):
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        loss = network(given).float().square().mean()
    loss.backward()

with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    seconds = {False: [], True: []}
    for _ in range(4):
        for low, taken in seconds.items():
            start = time.process_time()
            step(low)
            taken.append(time.process_time() - start)
fast, slow = (min(taken[1:]) for taken in seconds.values())
print(f"torch {torch.__version__}: float32 {fast:.3f} s, bfloat16 {slow:.3f} s, {slow / fast:.1f} times; warnings: {len(said)};",
      f"autocast is said to be available: {torch.amp.is_autocast_available('cpu')}")
assert slow / fast > 5 and not said and torch.amp.is_autocast_available("cpu")
PY
