from __future__ import annotations

from moe_eval_plugin.cli import build_parser


def bench(*arguments: str) -> int:
    options = build_parser().parse_args(["bench", "demo", *arguments])
    code: int = options.run(options)
    return code
