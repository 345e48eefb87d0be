"""Turns a checkpoint into ONNX and TensorRT, and writes the model repository."""

import rddm  # noqa: F401 (before ONNX Runtime, whose telemetry it turns off)
