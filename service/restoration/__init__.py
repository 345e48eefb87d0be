"""Bytes to restored bytes, without HTTP."""
