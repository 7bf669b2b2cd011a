"""The command ``moe-eval``: arguments in, exit code out.

Every verb imports what it needs when it runs, so that ``moe-eval --help`` answers at once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import MoEEvalError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
SHOWN_PACKAGES = ("lmms-eval", "transformers", "torch")

DESCRIPTION = """\
Accuracy and speed of Mixture-of-Experts models at a verified number of active experts.

The evaluation itself runs inside lmms-eval; this command looks at models and at this machine.
"""
EPILOG = """\
examples:
  moe-eval doctor                    is everything installed, and does it work here?
  moe-eval inspect demo              the experts of the embedded model and its cost at each k
  lmms-eval --model moe_hf --model_args pretrained=demo,experts_k=4 --tasks easy_vqa
                                     evaluate it with 4 routed experts per token

exit codes:
  0 all is well   1 a check failed   2 the request cannot be served as it was made
  3 a fault that is not yours        130 interrupted
"""
INSPECT_DESCRIPTION = """\
Show the MoE layers of a model, its routed and shared experts, its k, whether the weights of the
chosen experts are renormalised, and at each k: parameters and FLOPs of a token, bytes of a decode
step, and the speed-up there can be.

The speed-ups are ceilings: what remains when nothing but arithmetic (prefill) or reading weights
and cache (decode) takes time. Launching kernels, encoding images and the host lower them, and a
large batch touches nearly all experts at any k. Measure before you believe one.

Only the configuration is read; no weights are downloaded or loaded.
"""
INSPECT_EPILOG = """\
examples:
  moe-eval inspect demo
  moe-eval inspect Qwen/Qwen3-VL-30B-A3B-Instruct --context 4096 --batch-sizes 1 16
  moe-eval inspect ./my-checkpoint --json
  moe-eval inspect ./my-checkpoint --plot costs.png      needs the extra "report"
"""
FAMILIES_DESCRIPTION = """\
List the model families that are known, and how well it was proven that their k can be changed.

With a NAME, show all that is known of one family. Families of other installed plugins are listed
too. A model whose family is not listed may still work: its k is found by a general rule, and its
use of experts is observed like that of any other.
"""
FAMILIES_EPILOG = """\
examples:
  moe-eval families
  moe-eval families qwen3_vl_moe
  moe-eval families --json
"""
DOCTOR_DESCRIPTION = """\
Check what is installed, what can run here and what is wrong, with a cure for each fault.
"""
DOCTOR_EPILOG = """\
examples:
  moe-eval doctor
  moe-eval doctor --network          also ask whether the model hub answers
  moe-eval doctor --json

exit code: 0 when nothing is wrong, else 1
"""
TASKS_PATH_DESCRIPTION = """\
Print the folder with the task definitions of this package.

lmms-eval finds the tasks by itself when it runs one of our models. To use them with another model,
give it this folder.
"""
TASKS_PATH_EPILOG = """\
examples:
  lmms-eval --include_path "$(moe-eval tasks-path)" --model qwen3_vl --tasks easy_vqa
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and give its exit code; errors of this package show no traceback."""
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except MoEEvalError as error:
        print(f"moe-eval: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("moe-eval: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader went away. Python flushes standard output once more at exit, to nowhere then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the whole command; the reference in the docs is made from it."""
    parser = argparse.ArgumentParser(
        prog="moe-eval",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action=_VersionAction, help="show the versions that matter, and exit"
    )
    parser.set_defaults(run=None)
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_inspect(verbs)
    _add_families(verbs)
    _add_doctor(verbs)
    _add_verb(
        verbs,
        "tasks-path",
        _tasks_path,
        "print the folder with the task definitions",
        (TASKS_PATH_DESCRIPTION, TASKS_PATH_EPILOG),
    )
    return parser


def _run(arguments: Sequence[str] | None) -> int:
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.run is None:
        parser.print_help()
        return EXIT_USAGE
    code: int = options.run(options)
    return code


class _VersionAction(argparse.Action):
    """Reads the versions only when they are asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:  # noqa: A002  (argparse's name)
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(_versions())
        parser.exit()


def _add_inspect(verbs: Any) -> None:  # noqa: ANN401  (argparse keeps this type private)
    verb = _add_verb(
        verbs,
        "inspect",
        _inspect,
        "show the experts of a model and what it costs at each k",
        (INSPECT_DESCRIPTION, INSPECT_EPILOG),
    )
    verb.add_argument(
        "model", metavar="MODEL", help="a folder, a model id of the hub, or demo (embedded)"
    )
    verb.add_argument("--revision", help="branch, tag or commit on the hub (default: main)")
    verb.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="run code that comes with the model, if transformers does not know it",
    )
    verb.add_argument(
        "--context",
        type=int,
        default=1024,
        metavar="TOKENS",
        help="length of the prompt and of the cache that costs are given for (default: 1024)",
    )
    verb.add_argument(
        "--batch-sizes",
        type=int,
        nargs="+",
        default=[1, 8, 64],
        metavar="N",
        help="sequences decoded at once (default: 1 8 64)",
    )
    verb.add_argument(
        "--dtype", help="data type of weights and cache in memory (default: the configuration's)"
    )
    verb.add_argument(
        "--plot", type=Path, metavar="PNG", help="also draw the costs over k into this file"
    )
    verb.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_families(verbs: Any) -> None:  # noqa: ANN401  (argparse keeps this type private)
    verb = _add_verb(
        verbs,
        "families",
        _families,
        "list the model families that are known",
        (FAMILIES_DESCRIPTION, FAMILIES_EPILOG),
    )
    verb.add_argument(
        "name", nargs="?", metavar="NAME", help="a model type, for instance qwen3_vl_moe"
    )
    verb.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_doctor(verbs: Any) -> None:  # noqa: ANN401  (argparse keeps this type private)
    verb = _add_verb(
        verbs,
        "doctor",
        _doctor,
        "check the installation and this machine",
        (DOCTOR_DESCRIPTION, DOCTOR_EPILOG),
    )
    verb.add_argument(
        "--network", action="store_true", help="also ask whether the hub answers (at most 3 s)"
    )
    verb.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_verb(
    verbs: Any,  # noqa: ANN401  (argparse keeps this type private)
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
    texts: tuple[str, str],
) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=summary,
        description=texts[0],
        epilog=texts[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.set_defaults(run=run)
    return verb


def _inspect(options: argparse.Namespace) -> int:
    from moe_eval_plugin.inspect import inspect_model
    from moe_eval_plugin.inspect_text import render
    from moe_eval_plugin.scenario import Scenario

    report = inspect_model(
        options.model,
        options.revision,
        trust_remote_code=options.trust_remote_code,
        scenario=Scenario(options.context, tuple(options.batch_sizes), options.dtype),
    )
    if options.plot is not None:
        from moe_eval_plugin.inspect_plot import draw

        draw(report, options.plot)
    print(json.dumps(report.to_dict(), indent=2) if options.json else render(report))
    return 0


def _families(options: argparse.Namespace) -> int:
    from moe_eval_plugin import catalogue

    if options.name is None:
        found = catalogue.families()
        data: Any = [catalogue.to_dict(family) for family in found]
        text = catalogue.render_all(found)
    else:
        family = catalogue.find(options.name)
        data, text = catalogue.to_dict(family), catalogue.render(family)
    print(json.dumps(data, indent=2) if options.json else text)
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from moe_eval_plugin.doctor import examine, exit_code, render

    checks = examine(network=options.network)
    findings = [check.to_dict() for check in checks]
    print(json.dumps(findings, indent=2) if options.json else render(checks))
    return exit_code(checks)


def _tasks_path(_options: argparse.Namespace) -> int:
    from moe_eval_plugin.tasks import tasks_path

    print(tasks_path())
    return 0


def _versions() -> str:
    lines = [f"moe-eval-plugin {metadata.version('moe-eval-plugin')}"]
    for name in SHOWN_PACKAGES:
        try:
            lines.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            lines.append(f"{name} not installed")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
