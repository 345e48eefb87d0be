"""The same ONNX model and loop behind other doors."""
