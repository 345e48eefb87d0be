"""Finished results, kept and shared."""
