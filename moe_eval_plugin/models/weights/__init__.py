"""The weight files of a checkpoint: their size, whether they are complete, and their form."""
