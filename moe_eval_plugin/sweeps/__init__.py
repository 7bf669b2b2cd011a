"""The sweep: the same questions at each k, a results file for each, and a manifest.

Called as a function, ``moe_eval_plugin.sweeps(...)`` is ``moe_eval_plugin.api.sweep.sweep``, which
asks a model the same questions at each k.
"""
