"""Convert checkpoints of training frameworks to folders that transformers and vLLM load."""
