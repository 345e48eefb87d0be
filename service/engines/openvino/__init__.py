"""Network calls in this process, by OpenVINO."""
