"""Versions of the installed packages that a result depends on."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "moe-eval-plugin",
    "lmms-eval",
    "torch",
    "transformers",
    "accelerate",
    "datasets",
    "snowballstemmer",
)


def installed_versions() -> dict[str, str | None]:
    """Return the version of each package that a result depends on; ``None`` if it is absent."""
    return {name: _version(name) for name in PACKAGES}


@cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
