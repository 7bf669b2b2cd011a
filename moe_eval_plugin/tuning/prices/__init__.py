"""What each cell costs at each k: in routed experts, in FLOPs, or in measured time."""
