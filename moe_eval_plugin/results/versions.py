"""Versions of the installed packages that a result depends on."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# Harnesses: a result depends on the one that it was made with.
HOSTS = ("lmms-eval", "lm-eval")
PACKAGES = (
    "moe-eval-plugin",
    *HOSTS,
    "torch",
    "transformers",
    "accelerate",
    "datasets",
    "snowballstemmer",
)


def installed_versions() -> dict[str, str | None]:
    """Return the version of each package that a result depends on; ``None`` if it is absent.

    Of harnesses, those that are absent are left out.
    """
    versions = {name: _version(name) for name in PACKAGES}
    return {name: found for name, found in versions.items() if found or name not in HOSTS}


def versions_with(host: str, versions: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return the versions without those of other harnesses than ``host``.

    So a result stays the same, and a sweep goes on, when another harness is installed or removed.
    """
    return {name: found for name, found in versions.items() if name == host or name not in HOSTS}


@cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
