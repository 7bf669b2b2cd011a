"""Add a subcommand to ``moe-eval``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    Subcommands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  (no other)


def add_verb(
    verbs: Subcommands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
    texts: tuple[str, str],
) -> argparse.ArgumentParser:
    """Add a subcommand with a one-line summary; ``texts`` are its description and examples."""
    verb = verbs.add_parser(
        name,
        help=summary,
        description=texts[0],
        epilog=texts[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.set_defaults(run=run)
    return verb
