"""Network calls in this process, by ONNX Runtime."""
