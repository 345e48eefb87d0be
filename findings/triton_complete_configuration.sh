#!/usr/bin/env bash
# tritonserver's Python backend imports a model in one process more than its instances, though the configuration is complete.
#
# nvidia-pytriton 0.7.0 (its tritonserver), Python 3.11 with libpython3.11, Linux x86-64.
# A config.pbtxt that names inputs, outputs, batch size and instances has nothing to be completed. Still the server starts a process,
# imports model.py there, looks for auto_complete_config (which this model has not), ends it, and only then starts the instance: what
# the file imports is waited for twice at every load. With --disable-auto-complete-config it is imported once.
# Seen, 2026-11-29: processes that imported the model: 2 by default, 1 with --disable-auto-complete-config.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nvidia-pytriton==0.7.0 'numpy<2'
cat > "$folder/look.py" <<'PY'
import importlib.metadata
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

folder = Path(sys.argv[1])
packages = folder / "venv/lib/python3.11/site-packages"
triton = packages / "pytriton/tritonserver"

MODEL = """
import os
with open({seen!r}, "a") as file:
    file.write(str(os.getpid()) + "\\n")

class TritonPythonModel:
    def execute(self, requests):
        return []
"""
CONFIG = """
name: "m"
backend: "python"
max_batch_size: 0
input [{ name: "x", data_type: TYPE_FP32, dims: [1] }]
output [{ name: "y", data_type: TYPE_FP32, dims: [1] }]
instance_group [{ count: 1, kind: KIND_CPU }]
"""

def backend():
    python = folder / "backends/python"
    python.mkdir(parents=True)
    for name in ("libtriton_python.so", "triton_python_backend_utils.py"):
        shutil.copy2(triton / "backends/python" / name, python)
    shutil.copy2(triton / "python_backend_stubs/3.11/triton_python_backend_stub", python)

def ports():
    sockets = [socket.socket() for _ in range(3)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    found = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return found

def importers(name, *options):
    seen, repository = folder / f"{name}.seen", folder / name
    (repository / "m/1").mkdir(parents=True)
    (repository / "m/1/model.py").write_text(MODEL.format(seen=str(seen)))
    (repository / "m/config.pbtxt").write_text(CONFIG)
    http, grpc, metrics = ports()
    command = [triton / "bin/tritonserver", f"--model-repository={repository}", f"--backend-directory={folder / 'backends'}",
               f"--http-port={http}", f"--grpc-port={grpc}", f"--metrics-port={metrics}", *options]
    variables = {**os.environ, "PATH": f"{folder / 'venv/bin'}:{os.environ['PATH']}",
                 "LD_LIBRARY_PATH": str(packages / "nvidia_pytriton.libs")}
    with (folder / f"{name}.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=variables, start_new_session=True)
    try:
        for _ in range(600):
            assert server.poll() is None, (folder / f"{name}.log").read_text()[-1000:]
            try:
                if urllib.request.urlopen(f"http://127.0.0.1:{http}/v2/models/m/ready", timeout=1).status == 200:
                    break
            except OSError:
                time.sleep(0.1)
        else:
            raise SystemExit("the model did not become ready")
    finally:
        server.send_signal(signal.SIGINT)  # a killed one leaves shared memory behind
        server.wait(60)
    return len(set(seen.read_text().split()))

backend()
default, disabled = importers("default"), importers("disabled", "--disable-auto-complete-config")
print(f"nvidia-pytriton {importlib.metadata.version('nvidia-pytriton')}: processes that imported the model: "
      f"{default} by default, {disabled} with --disable-auto-complete-config")
assert (default, disabled) == (2, 1)
PY
"$folder/venv/bin/python" "$folder/look.py" "$folder"
