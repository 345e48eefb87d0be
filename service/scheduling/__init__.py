"""The queue in front of the engine: admission, fairness, batches."""
