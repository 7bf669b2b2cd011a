"""What a model costs: FLOPs and bytes of its parts, and of a token at each k."""
