"""One picture through the sampler's steps."""
