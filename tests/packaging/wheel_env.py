"""Build the wheel from the files that git knows, and install it apart from the checkout.

``python tests/packaging/wheel_env.py FOLDER`` makes a virtual environment in ``FOLDER``. It holds
the wheel alone and borrows the dependencies of the environment that runs this script. An editable
install in that environment stays out of reach, because Python follows a ``.pth`` file only in an
environment's own folder. So what the wheel lacks is really missing there. One that holds the wheel
of the present files is kept as it is, so that one is enough for all checks.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
DIGEST = "sources.sha256"
PACKAGE_FOLDERS = {
    "moe_eval_plugin": "moe_eval_plugin",
    "tasks": "moe_eval_plugin/tasks",
    "model_adapters": "moe_eval_plugin/model_adapters",
}


@dataclass(frozen=True)
class WheelEnvironment:
    """An environment that holds the built wheel: ``python`` runs in it, ``scripts`` is its bin."""

    folder: Path
    wheel: Path

    @property
    def scripts(self) -> Path:
        return self.folder / "bin"

    @property
    def python(self) -> Path:
        return self.scripts / "python"

    @property
    def site_packages(self) -> Path:
        return _site_packages(self.folder)


def known_files(root: Path = ROOT) -> list[str]:
    """List the files that git tracks, and those that it would add, as paths below ``root``."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    return sorted(name for name in set(listing.split("\0")) if name and (root / name).is_file())


def shipped_files(root: Path = ROOT) -> dict[str, str]:
    """Map each file that must be in the wheel to its path in there."""
    shipped = {}
    for name in known_files(root):
        top, _, rest = name.partition("/")
        if rest and top in PACKAGE_FOLDERS:
            shipped[name] = f"{PACKAGE_FOLDERS[top]}/{rest}"
    return shipped


def source_files() -> list[str]:
    """List the files that the wheel is built from."""
    return [name for name in known_files() if not name.startswith(("docs/", "tests/"))]


def digest_of_sources() -> str:
    """Return a digest of what the environment is made from: the files, and the Python."""
    digest = hashlib.sha256(sys.executable.encode())
    for name in source_files():
        digest.update(f"\0{name}\0".encode() + (ROOT / name).read_bytes())
    return digest.hexdigest()


def build_wheel(folder: Path) -> Path:
    """Build the wheel into ``folder`` from a clean copy of the files that git knows."""
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary)
        for name in source_files():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
        _run("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source))
    (wheel,) = folder.glob("*.whl")
    return wheel


def ensure_environment(folder: Path) -> WheelEnvironment:
    """Return an environment in ``folder`` that holds the wheel of the present files."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    stamp, digest = folder / DIGEST, digest_of_sources()
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not (stamp.is_file() and stamp.read_text("utf-8") == digest):
            make_environment(folder)
            stamp.write_text(digest, "utf-8")
    (wheel,) = (folder / "dist").glob("*.whl")
    return WheelEnvironment(folder, wheel)


def make_environment(folder: Path) -> None:
    """Build the wheel and install it into a new environment in ``folder``, replacing an old one."""
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=False, symlinks=True)
    environment = WheelEnvironment(folder, build_wheel(folder / "dist"))
    dependencies = [folder for folder in sys.path if Path(folder).name == "site-packages"]
    (environment.site_packages / "dependencies.pth").write_text("\n".join(dependencies), "utf-8")
    target = ("--python", str(environment.python))
    _run(
        "-m",
        "pip",
        *target,
        "install",
        "--quiet",
        "--no-deps",
        "--ignore-installed",
        str(environment.wheel),
    )


def _site_packages(folder: Path) -> Path:
    scheme = {"base": str(folder), "platbase": str(folder)}
    return Path(sysconfig.get_path("purelib", scheme="venv", vars=scheme))


def _run(*arguments: str) -> None:
    result = subprocess.run(
        [sys.executable, *arguments],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if result.returncode:
        message = f"{' '.join(arguments)} failed:\n{result.stdout}"
        raise RuntimeError(message)


if __name__ == "__main__":
    ensure_environment(Path(sys.argv[1]).resolve())
