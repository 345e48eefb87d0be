"""The classifier behind `task=auto`: which faults a picture has. `python -m training.faults` trains it."""
