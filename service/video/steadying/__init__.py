"""What keeps a restored clip calm: neighbouring frames decide together, and each is blended with the one before along its motion.

The sampler does its part already: every frame of a clip has the same seed and size, and so the same noise field.
"""
