"""The timed pass of a sweep: a sample of the questions, every setting timed block by block."""
