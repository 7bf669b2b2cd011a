"""Set and observe k in a loaded PyTorch model."""
