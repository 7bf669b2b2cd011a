"""Read the routing traces that FLAME-MoE published, and those that its scripts capture."""

from moe_eval_plugin.routing.published_traces.read import read_flame_traces

__all__ = ["read_flame_traces"]
