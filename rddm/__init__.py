"""The method of Residual Denoising Diffusion Models, shared by training, export and service."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read once, at ONNX Runtime's import: by default it reports to its makers
