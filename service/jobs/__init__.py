"""Work that outlives its request: queue, store, runner, webhooks."""
