"""Convert FLAME-MoE and its dense baselines."""
