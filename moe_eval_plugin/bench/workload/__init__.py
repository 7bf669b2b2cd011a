"""The workload of a bench: inputs, changed configurations, random weights."""
