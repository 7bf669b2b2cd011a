"""Write the installed packages as a lock file, and compare two of them."""

from __future__ import annotations

import json
import re
from importlib import metadata
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HEADER = "# Every package that was installed when the bundle was made."
LOCAL_PREFIX = "# not at a package index: "


def lock_text() -> str:
    """Return ``name==version`` for every installed package, sorted.

    A package from a URL keeps the URL, without a user name or password in it. A package from a
    local folder is only a comment: nobody else has that folder.
    """
    found: dict[str, str] = {}
    for package in metadata.distributions():
        name = package.metadata["Name"]
        if name:
            found.setdefault(_normal(name), _line(_normal(name), package))
    return "\n".join([HEADER, *(found[name] for name in sorted(found))]) + "\n"


def locked_versions(text: str) -> dict[str, str]:
    """Return the version of each package in a lock; of a package from a URL, the URL."""
    found = {}
    for line in text.splitlines():
        entry = line.removeprefix(LOCAL_PREFIX)
        if not entry.startswith("#"):
            sign = " @ " if " @ " in entry else "=="
            name, _, version = entry.partition(sign)
            found[name] = version.partition(" (")[0]
    return found


def package_differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """List the packages whose versions differ, as ``name: before -> now``."""
    return [
        f"{name}: {before.get(name, 'absent')} -> {now.get(name, 'absent')}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


def important_first(differences: Iterable[str], important: Iterable[str]) -> list[str]:
    """Return the differences with those of the ``important`` packages first."""
    names = set(important)
    return sorted(differences, key=lambda line: line.partition(":")[0] not in names)


def _line(name: str, package: metadata.Distribution) -> str:
    plain = f"{name}=={package.version}"
    try:
        origin = json.loads(package.read_text("direct_url.json") or "null")
    except ValueError:
        origin = None
    if not isinstance(origin, dict):
        return plain
    address = urlsplit(str(origin.get("url", "")))
    if address.scheme == "file":
        return f"{LOCAL_PREFIX}{plain} (a folder or file of the machine)"
    url = urlunsplit(address._replace(netloc=address.netloc.rpartition("@")[2]))
    source = origin.get("vcs_info")
    if isinstance(source, dict):
        url = f"{source.get('vcs')}+{url}@{source.get('commit_id')}"
    return f"{name} @ {url}"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
