"""Trains RDDM checkpoints: networks, data, losses, presets, evaluation."""

import rddm  # noqa: F401 (before ONNX Runtime, whose telemetry it turns off)
