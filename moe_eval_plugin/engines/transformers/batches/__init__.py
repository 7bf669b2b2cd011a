"""Answer requests in batches: which ones together, their inputs, and the calls of the model."""
