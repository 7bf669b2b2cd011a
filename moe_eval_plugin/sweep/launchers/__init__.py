"""Where the points of a sweep run: here, on Ray, or on Slurm."""
