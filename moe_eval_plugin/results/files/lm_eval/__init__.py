"""The results files of lm-evaluation-harness, read as the types of every host."""
