"""Lay out this package in a folder as a wheel would, with the packages that are missing.

``run.sh`` calls it. Nothing is installed, and only the standard library is needed. It exits with 2,
and says what to do, if this machine lacks a package that is not in ``benchmarks/gpu/wheels/``.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

REPOSITORY = Path(__file__).resolve().parents[2]
WHEELS = Path(__file__).with_name("wheels")
# Module and package, of what comes with PyTorch and transformers and of what may come in wheels.
OWN = {
    "torch": "torch",
    "torchvision": "torchvision",
    "transformers": "transformers",
    "jinja2": "jinja2",
    "PIL": "pillow",
    "tqdm": "tqdm",
    "yaml": "pyyaml",
}
FROM_WHEELS = {
    "accelerate": "accelerate",
    "easy_vqa": "easy-vqa",
    "pluggy": "pluggy",
    "psutil": "psutil",
    "pynvml": "nvidia-ml-py",
    "scipy": "scipy",
}


def lay_out_package(site: Path) -> None:
    """Copy the package with the folders that belong into it, and its entry points."""
    described = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    project = described["project"]
    ignored = shutil.ignore_patterns("__pycache__")
    # The package itself comes first: the others lie in it.
    for name, folder in sorted(described["tool"]["setuptools"]["package-dir"].items()):
        shutil.copytree(REPOSITORY / folder, site / name.replace(".", "/"), ignore=ignored)
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(metadata, "utf-8")
    lines = [
        line
        for group, entries in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in entries.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", "utf-8")


def is_for_this_python(wheel: Path) -> bool:
    """Whether a wheel is of pure Python, for this version, or for this and all later ones."""
    python, abi, _ = wheel.stem.split("-")[-3:]
    return "py3" in python or abi == "abi3" or python == f"cp3{sys.version_info.minor}"


def unpack_missing(site: Path) -> list[str]:
    """Unpack the wheels of packages that this machine lacks; list those that stay missing."""
    missing = [name for module, name in OWN.items() if find_spec(module) is None]
    for module, name in FROM_WHEELS.items():
        if find_spec(module) is not None:
            continue
        found = WHEELS.glob(f"{name.replace('-', '_')}-*.whl")
        wheel = next((path for path in found if is_for_this_python(path)), None)
        if wheel is None:
            missing.append(name)
        else:
            zipfile.ZipFile(wheel).extractall(site)
    return missing


def main(arguments: Sequence[str] | None = None) -> None:
    """Lay out the package; exit with 2 if something is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path, help="an empty folder")
    site = parser.parse_args(arguments).site
    missing = unpack_missing(site)
    if missing:
        print(
            f"{sys.executable} lacks {', '.join(missing)}. Run `bash benchmarks/gpu/prepare.sh` on "
            "a machine with a network, and copy benchmarks/gpu/wheels/ here. PyTorch, torchvision "
            "and transformers are not in it: set PYTHON to an interpreter that has them.",
            file=sys.stderr,
        )
        sys.exit(2)
    lay_out_package(site)


if __name__ == "__main__":
    main()
