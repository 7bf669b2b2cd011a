"""What a bench runs: inputs, changed configurations, random weights."""
