"""Run lm-eval with the models of this package: ``python -m moe_eval_plugin.lm_eval run ...``.

The same as ``moe-eval lm-eval``, for launchers that start a module: ``accelerate launch -m``.
"""

from __future__ import annotations

import sys

from moe_eval_plugin.cli import main

if __name__ == "__main__":
    sys.exit(main(["lm-eval", *sys.argv[1:]]))
