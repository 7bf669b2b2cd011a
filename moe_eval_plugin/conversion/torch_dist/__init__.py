"""Read Megatron-core checkpoints of the format torch_dist, without Megatron."""
