"""Network calls by Triton servers."""
