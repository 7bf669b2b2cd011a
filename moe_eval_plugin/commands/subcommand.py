"""How a verb is added to the command."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

Subcommands: TypeAlias = Any  # argparse keeps the type of ``add_subparsers`` private


def add_verb(
    verbs: Subcommands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
    texts: tuple[str, str],
) -> argparse.ArgumentParser:
    """Add a verb with a line for the list of verbs, and a description and examples for its help."""
    verb: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=summary,
        description=texts[0],
        epilog=texts[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.set_defaults(run=run)
    return verb
