#!/usr/bin/env bash
# x264 (of PyAV 18.1's wheels) on a processor with AVX-512: its macroblock tree reads memory that it did not write, so that equal frames,
# by one thread, give other packets in about one process of a hundred. asm=avx2 and no-mbtree=1 are not touched by it. cpu-independent=1
# gives the bytes of no-asm=1, every time, in a third of its time.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.4.6
"$work/venv/bin/python" - <<'PY'
import hashlib, platform, random, time
from collections import Counter
from fractions import Fraction
import av, numpy as np

COUNT, TRIES = 48, 400
y, x = np.mgrid[:96, :144]
wave = lambda k, c: (128 + 100 * np.sin((x + 3 * k) / 7 + c) * np.cos((y + k) / 5)).astype(np.uint8)
frames = [np.stack([wave(k, c) for c in range(3)], -1) for k in range(COUNT)]
draw = random.Random(1)

def encoded(options):
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.thread_count = 144, 96, "yuv420p", 1
    encoder.time_base = Fraction(1, 24)
    encoder.options = {"preset": "veryfast", "bf": "0", "x264-params": options}
    digest = hashlib.sha256()
    for k, pixels in enumerate([*frames, None]):
        frame = None if pixels is None else av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
        if frame is not None:
            frame.pts = k
        for packet in encoder.encode(frame):
            digest.update(bytes(packet))
    return digest.hexdigest()[:8]

def results(options, tries):
    """Digests of the same frames, encoded while freed memory holds one thing and another, until two differ."""
    seen = Counter()
    while sum(seen.values()) < tries and len(seen) < 2:
        blocks = [bytes([draw.randrange(256)]) * draw.randrange(1, 1 << draw.randrange(1, 22)) for _ in range(60)]
        del blocks[::2]
        seen[encoded(options)] += 1
    return seen

has_avx512 = platform.system() == "Linux" and " avx512bw" in open("/proc/cpuinfo").read()
print("PyAV", av.__version__, "libavcodec", av.library_versions["libavcodec"], "AVX-512", has_avx512)
usual, plain = results("keyint=250", TRIES if has_avx512 else 40), results("no-asm=1", 20)
started = time.process_time(); independent = results("cpu-independent=1", 200); spent = (time.process_time() - started) / 200
print("digests: as usual", dict(usual), "no-asm", dict(plain), "cpu-independent", dict(independent), f"{1000 * spent / COUNT:.2f} ms a frame")
assert len(usual) == (2 if has_avx512 else 1)
assert len(plain) == 1 and list(plain) == list(independent)
PY
