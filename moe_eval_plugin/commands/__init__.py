"""The subcommands of ``moe-eval``, one module each: arguments in, exit code out, no logic.

A module has ``add``, which adds its arguments to the parser, and ``run``, which imports what it
needs when it is called, so that ``moe-eval --help`` answers at once.
"""
