"""The timed pass with ``moe_vllm``: engines in processes of their own, which time on demand."""
