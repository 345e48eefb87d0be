"""Turns a checkpoint into ONNX and TensorRT, and writes the model repository."""
