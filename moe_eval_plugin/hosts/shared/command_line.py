"""Write the command line of a host from the options of a run, whichever host it is."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from moe_eval_plugin.results.run import Run

# Names in a results file of the four numbers of --seed, in the order of the option.
SEEDS = ("random_seed", "numpy_seed", "torch_seed", "fewshot_seed")


@dataclass(frozen=True)
class CommandLine:
    """Options of one run of a host: fields with the names, the order and the defaults of those.

    A default is not written.
    """

    program: ClassVar[tuple[str, ...]]

    def arguments(self, output: str) -> list[str]:
        """Return the arguments of a run that writes its files to the folder ``output``."""
        return [*self._options(), "--output_path", output]

    def command(self, output: str) -> list[str]:
        """Return the program and its arguments."""
        return [*self.program, *self.arguments(output)]

    def shell_text(self, output: str) -> str:
        """Return the command as one line for a shell."""
        return shlex.join(self.command(output))

    def _options(self) -> Iterator[str]:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None or value == field.default:
                continue
            yield f"--{field.name}"
            if value is not True:
                yield ",".join(value) if isinstance(value, tuple) else str(_whole(value))


def seed_text(options: Mapping[str, Any]) -> str | None:
    """Return the value of ``--seed``; ``None`` where the results do not hold all four numbers."""
    if any(name not in options for name in SEEDS):
        return None
    return ",".join(str(options[name]) for name in SEEDS)


def commit_of(run: Run) -> str | None:
    """Return the commit of the checkpoint that a run used; ``None`` where no record names one."""
    setups = [task.record.setup for task in run.tasks if task.record]
    return next((setup.revision for setup in setups if setup.revision), None)


def _whole(value: object) -> object:
    """Return a number of questions as a whole number; hosts store it with a fraction."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
