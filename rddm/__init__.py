"""The method of Residual Denoising Diffusion Models, shared by training, export and service."""
