"""Faults of an installation that are made for the purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def site_with(folder: Path, name: str, version: str) -> None:
    """Put the metadata of a distribution, and nothing else of it, on the path."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def package_that_raises(folder: Path, name: str, statement: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(statement)
