"""Run the points of a sweep here, on Ray or on Slurm."""
