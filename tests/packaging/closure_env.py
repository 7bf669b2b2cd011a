"""Make an environment that holds the wheel and what one of its extras needs, and nothing else.

What a requirement needs is computed from the metadata of the environment that runs this, and linked
from there: nothing is downloaded, and nothing else can be imported.
"""

from __future__ import annotations

import importlib.metadata
import venv
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.wheel_env import WheelEnvironment

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import Distribution

PROJECT = "moe-eval-plugin"


def make_closure_environment(
    folder: Path, wheel_environment: WheelEnvironment, extra: str
) -> WheelEnvironment:
    """Make an environment in ``folder`` of an installed wheel and what one of its extras needs."""
    venv.create(folder, with_pip=False, symlinks=True)
    environment = WheelEnvironment(folder, wheel_environment.wheel)
    for distribution in closure(wheel_environment, extra):
        for link, target in _links(distribution):
            path = environment.site_packages / link
            if not path.exists():  # packages may share one
                path.parent.mkdir(parents=True, exist_ok=True)
                path.symlink_to(target)
    return environment


def closure(wheel_environment: WheelEnvironment, extra: str) -> list[Distribution]:
    """Return an installed wheel, and all packages that it needs with an extra."""
    paths = [str(wheel_environment.site_packages)]
    (installed,) = importlib.metadata.distributions(name=PROJECT, path=paths)
    found = {PROJECT: installed}
    done: set[tuple[str, str]] = set()
    pending = [Requirement(f"{PROJECT}[{extra}]")]
    while pending:
        one = pending.pop()
        name = canonicalize_name(one.name)
        if name not in found:
            found[name] = importlib.metadata.distribution(name)
        for chosen in {"", *one.extras} - {of for known, of in done if known == name}:
            done.add((name, chosen))
            pending += _needed(found[name].requires or [], chosen)
    return list(found.values())


def _needed(texts: Iterable[str], extra: str) -> list[Requirement]:
    needed = map(Requirement, texts)
    return [one for one in needed if one.marker is None or one.marker.evaluate({"extra": extra})]


def _links(distribution: Distribution) -> Iterable[tuple[str, Path]]:
    """Yield the path of each link in the folder of packages with its target.

    A folder that packages may share is not linked, but what is in it. Scripts are left out.
    """
    folder = Path(str(distribution.locate_file("")))
    files = (distribution.read_text("RECORD") or "").splitlines()
    parts = {tuple(line.partition(",")[0].split("/")[:2]) for line in files}
    for top in {part[0] for part in parts} - {"..", "__pycache__"}:
        if _is_shared(folder / top):
            for part in parts:
                if part[0] == top:
                    yield "/".join(part), folder / top / part[1]
        else:
            yield top, folder / top


def _is_shared(path: Path) -> bool:
    """Whether a path is a folder of a namespace, in which several packages lie."""
    is_package = (path / "__init__.py").is_file() or path.suffix in {".dist-info", ".libs"}
    return path.is_dir() and not is_package
