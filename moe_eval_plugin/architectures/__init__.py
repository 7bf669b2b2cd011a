"""Model classes that transformers does not have."""
