"""The gateway: takes pictures over HTTP, runs the few-step sampler, asks an engine for each network evaluation."""

import rddm  # noqa: F401 (before ONNX Runtime, whose telemetry it turns off)
