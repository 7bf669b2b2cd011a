"""VQA data sets and scores."""
