"""Measurements: run by hand, their last results committed beside them."""
