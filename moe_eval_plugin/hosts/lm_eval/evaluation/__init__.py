"""What an evaluation by the host needs of our models, and what is added to its results."""
