"""The gateway: takes pictures over HTTP, runs the few-step sampler, asks an engine for each network evaluation."""
