"""What is wrong with a picture, and what to do about it: facts, probabilities of faults, a plan. Behind `task=auto`."""
