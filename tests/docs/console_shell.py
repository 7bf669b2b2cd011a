"""Run console blocks by a real bash, with ``moe-eval`` and ``lmms-eval`` in the test's process.

In the bash, these two are programs of a few lines that send their arguments to the test, which is
spared to import their libraries for each command.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tests.cli.programs import MOE_EVAL, TIME_LIMIT_S, Ended, lmms_eval, moe_eval, start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.docs.console_blocks import Block

HERE = {"moe-eval": moe_eval, "lmms-eval": lmms_eval}
# Verbs that hand their own streams to the processes that they start.
NEED_A_PROCESS = ("reproduce",)
# The name of the variable that holds the number of the block that runs.
BLOCK = "CONSOLE_BLOCK"
OF_THE_SHELL = {BLOCK, "CONSOLE_SOCKET", "PATH", "PWD", "OLDPWD", "SHLVL", "_"}
BYTES = 1 << 16

PROGRAM = """\
#!{python} -SE
import json, os, socket, sys
client = socket.socket(socket.AF_UNIX)
client.connect(os.environ["CONSOLE_SOCKET"])
call = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
client.sendall(json.dumps([call, os.getcwd(), dict(os.environ)]).encode())
client.shutdown(socket.SHUT_WR)
code, out, err = json.load(client.makefile())
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""
# Nothing is run: calls are written down, and whatever changes the surroundings does nothing.
RECORDER = """\
PATH=/nowhere
record() { printf '%s\\0' "$@" >&3; printf '\\n\\0' >&3; }
command_not_found_handle() { record "$@"; }
for name in cd exec exit source . kill trap eval; do
  eval "$name() { record $name \\"\\$@\\"; }"
done
"""


class Server:
    """Runs the calls of a shell's ``moe-eval`` and ``lmms-eval`` in this process."""

    def __init__(self, blocks: Sequence[Block], folder: Path) -> None:
        """Listen in a folder, which gets the two programs."""
        self._blocks = blocks
        self._n_calls: dict[int, int] = {}
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(folder / "socket"))
        self._socket.listen()
        self._socket.settimeout(0.05)
        for name in HERE:
            (folder / name).write_text(PROGRAM.format(python=sys.executable))
            (folder / name).chmod(0o755)

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def serve_one(self) -> None:
        """Run one call, if there is one, and print how long it took."""
        try:
            client, _ = self._socket.accept()
        except TimeoutError:
            return
        with client:
            client.settimeout(None)
            call, folder, variables = json.loads(_all_of(client))
            ended = self._run(call, Path(folder), variables)
            client.sendall(json.dumps([ended.returncode, ended.stdout, ended.stderr]).encode())

    def _run(self, call: list[str], folder: Path, variables: dict[str, str]) -> Ended:
        number = int(variables[BLOCK])
        block = self._blocks[number]
        self._n_calls[number] = self._n_calls.get(number, 0) + 1
        arguments = call[1:]
        if self._n_calls[number] == len(calls_here(block)):
            arguments = with_options(arguments, block.options)
        given = {
            name: value
            for name, value in variables.items()
            if name not in OF_THE_SHELL and os.environ.get(name) != value
        }
        begin = time.perf_counter()
        if call[0] == "moe-eval" and arguments[0] in NEED_A_PROCESS:
            ended = start(MOE_EVAL, *arguments, cwd=folder, **given)
        else:
            ended = HERE[call[0]](*arguments, cwd=folder, **given)
        print(f"{time.perf_counter() - begin:6.1f} s  {block.where}: {' '.join(ended.args)}")  # noqa: T201  (pytest shows it with -rP)
        return ended


def run_blocks(blocks: Sequence[Block], folder: Path) -> str:
    """Run blocks of one page in order, in one folder; return what they printed.

    Raises ``AssertionError`` at the first command that ends with another exit code than 0, or
    than the one that a mark names.
    """
    with TemporaryDirectory(prefix="console-") as name:
        programs = Path(name)
        script, printed = programs / "page.sh", programs / "printed"
        script.write_text(_script(blocks))
        path = os.pathsep.join((name, str(Path(sys.executable).parent), os.environ["PATH"]))
        given = {**os.environ, "PATH": path, "CONSOLE_SOCKET": str(programs / "socket")}
        server = Server(blocks, programs)
        try:
            with printed.open("w") as output:
                code = _serve(server, ["bash", str(script)], folder, given, output.fileno())
        finally:
            server.close()
        text = printed.read_text("utf-8")
    assert code == 0, f"{blocks[0].page}: bash ended with {code}\n{text}"
    return text


def _serve(
    server: Server, command: list[str], folder: Path, variables: dict[str, str], output: int
) -> int:
    end = time.monotonic() + TIME_LIMIT_S
    with subprocess.Popen(
        command,
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
    ) as shell:
        try:
            while shell.poll() is None and time.monotonic() < end:
                server.serve_one()
        finally:
            shell.kill()
    return shell.returncode


def _script(blocks: Sequence[Block]) -> str:
    """Return one script, whose lines have the numbers that they have on the page."""
    failed = f"""'echo "{blocks[0].page}:$LINENO: exit code $?: $BASH_COMMAND" >&2'"""
    lines = [f"set -eo pipefail; trap {failed} ERR"]
    for number, block in enumerate(blocks):
        lines += [""] * (block.line - len(lines))
        wanted = block.exit_code
        lines[-1] = f"export {BLOCK}={number}" + ("; set +e; trap - ERR" if wanted else "")
        lines += block.text.splitlines()
        wrong = f'echo "{block.where}: the exit code is $code, not {wanted}"; exit 1'
        ended = f"code=$?; [ $code -eq {wanted} ] || {{ {wrong}; }}; set -e; trap {failed} ERR"
        lines.append(ended if wanted else "")
    return "\n".join(lines) + "\n"


@cache
def recorded(block: Block) -> list[list[str]]:
    """List the commands of a block as bash splits them into words; none is run."""
    with TemporaryDirectory(prefix="console-") as name:
        found = Path(name, "calls")
        script = f"exec 3>{found}\n{RECORDER}{block.text}"
        ended = subprocess.run(
            ["bash", "-c", script],  # noqa: S607  (the reader's own)
            cwd=name,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        texts = found.read_text("utf-8").split("\0")
    assert "syntax error" not in ended.stderr, f"{block.where}: {ended.stderr}"
    calls: list[list[str]] = [[]]
    for text in texts[:-1]:
        if text == "\n":
            calls.append([])
        else:
            calls[-1].append(text)
    return calls[:-1]


def calls_here(block: Block) -> list[list[str]]:
    """List the calls of ``moe-eval`` and ``lmms-eval`` in a block, those of launchers included."""
    return [
        words[words.index(name) :] for words in recorded(block) for name in HERE if name in words
    ]


def with_options(arguments: Sequence[str], options: Sequence[str]) -> list[str]:
    """Return arguments with options added, which replace those of the same names."""
    names = {option for option in options if option.startswith("-")}
    kept, is_kept = [], True
    for argument in arguments:
        if argument.startswith("-"):
            is_kept = argument.partition("=")[0] not in names
        if is_kept:
            kept.append(argument)
    return [*kept, *options]


def _all_of(client: socket.socket) -> bytes:
    parts = []
    while part := client.recv(BYTES):
        parts.append(part)
    return b"".join(parts)
