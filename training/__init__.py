"""Trains RDDM checkpoints: networks, data, losses, presets, evaluation."""
