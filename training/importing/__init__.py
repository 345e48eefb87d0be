"""Other people's checkpoints as ours: the authors' files, diffusers' DDIMs, and means of our own."""
