"""VQA data sets: read them, check their official files, and score answers."""
