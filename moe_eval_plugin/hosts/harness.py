"""What sweeps, bundles and reports need of an evaluation harness, whichever it is.

``harness`` returns that of a host by name. Neither it nor the host itself imports anything heavy,
and the package of the host need not be installed before something is run with it.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from moe_eval_plugin.errors import InvalidArgumentError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from moe_eval_plugin.hosts.shared.command_line import CommandLine
    from moe_eval_plugin.hosts.shared.host_run import HostRun
    from moe_eval_plugin.hosts.shared.loaded_tasks import LoadedTasks
    from moe_eval_plugin.results.run import Run

LMMS_EVAL, LM_EVAL = "lmms-eval", "lm-eval"
# The host of what was written before there were two of them, and of a sweep that names none.
FIRST = LMMS_EVAL
PACKAGES = {LMMS_EVAL: "lmms_eval", LM_EVAL: "lm_eval"}


class Harness(Protocol):
    """An evaluation harness."""

    name: str
    """Name of the host and of the extra that installs it."""
    program: tuple[str, ...]
    """The command of a run, as users write it."""
    module: tuple[str, ...]
    """What ``python -m`` runs instead, with its first arguments."""
    all_tasks: str
    """The command that lists all tasks."""
    pinnable: tuple[str, ...]
    """Models of this package, which accept the commit of a checkpoint as an argument."""
    shares_on_cpus: bool
    """Whether processes of accelerate share the questions on CPUs too, and not on GPUs alone."""

    def check_model(self, name: str) -> None:
        """Raise ``InvalidArgumentError`` for a model that the host does not have."""

    def check_options(self, run: HostRun) -> None:
        """Raise ``InvalidArgumentError`` for options that the host cannot use."""

    def check_tasks(self, names: Iterable[str], include_path: str | None) -> None:
        """Raise ``InvalidArgumentError`` for a name that no definition of a task contains."""

    def declared_tasks(self) -> list[str]:
        """Return the names of all tasks, groups and tags of the host and of plugins."""

    def replaces(self, task: str, include_path: str | None) -> bool:
        """Whether the host prefers another task of this name to the one of this package."""

    def argument_names(self, model_args: str) -> set[str]:
        """Return the names in the arguments of a model."""

    def join_texts(self, texts: Iterable[str]) -> str:
        """Return the arguments of a model of several texts as one."""

    def write_arguments(self, arguments: Mapping[str, Any]) -> str:
        """Return the text of arguments that ``read_arguments`` returned."""

    def pinned_model_args(self, model: str, model_args: str, commit: str | None) -> str:
        """Return the arguments of a model with the commit of its checkpoint, where one is known."""

    def read_arguments(
        self, model_args: str, of_the_host: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Read the arguments of a model, and the options of the host that are the model's.

        Raises ``InvalidArgumentError``.
        """

    def run_settings(self, run: HostRun) -> CommandLine:
        """Return the options of a run with logged samples."""

    def settings_of(self, run: Run, *, log_samples: bool = True) -> CommandLine:
        """Return the options that a results file of the host records."""

    def load_tasks(self, run: HostRun) -> LoadedTasks:
        """Import the host, and load the tasks of a run with their data.

        Raises ``InvalidArgumentError`` for a name that the host does not have, and ``DataError``
        where the data of a task cannot be downloaded.
        """


def harness(name: str) -> Harness:
    """Return the harness of a host, whose package may be absent.

    Raises ``InvalidArgumentError`` for a name that is not known.
    """
    if name == LMMS_EVAL:
        from moe_eval_plugin.hosts.lmms_eval.harness import LmmsEval

        return LmmsEval()
    if name == LM_EVAL:
        from moe_eval_plugin.hosts.lm_eval.harness import LmEval

        return LmEval()
    message = f"--host {name} is not known. Use one of: {', '.join(PACKAGES)}."
    raise InvalidArgumentError(message)


def installed_harness(name: str) -> Harness:
    """Return the harness of a host; ``MissingDependencyError`` where its package is absent."""
    found = harness(name)
    check_installed(name, instead=_other_installed(name))
    return found


def check_installed(name: str, *, instead: str = "") -> None:
    """Raise ``MissingDependencyError`` where the package of a host is absent; nothing is imported.

    ``instead`` ends the message: what to do with what is installed.
    """
    if not is_installed(name):
        message = f'{name} is not installed. Install it: pip install "moe-eval-plugin[{name}]".'
        raise MissingDependencyError(message + instead)


def is_installed(name: str) -> bool:
    """Whether the package of a host is installed; it is not imported."""
    return find_spec(PACKAGES[name]) is not None


def default_host() -> str:
    """Return lmms-eval where it is installed, else lm-eval where that is."""
    return next(_installed(), FIRST)


def _installed() -> Iterator[str]:
    return (name for name in PACKAGES if is_installed(name))


def _other_installed(name: str) -> str:
    others = [other for other in _installed() if other != name]
    return f" Installed is {others[0]}: --host {others[0]}." if others else ""
