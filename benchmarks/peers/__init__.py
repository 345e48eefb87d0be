"""The same ONNX model and loop in other servers."""
