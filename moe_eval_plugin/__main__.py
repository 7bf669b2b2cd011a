"""Run the command ``moe-eval`` as ``python -m moe_eval_plugin``."""

from __future__ import annotations

import sys

from moe_eval_plugin.cli import main

if __name__ == "__main__":
    sys.exit(main())
