"""``moe-eval routing``: study what the routers of a model choose, and write a page about it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.commands.ending import is_silent, show_end, shown
from moe_eval_plugin.commands.hidden_libraries import libraries_hidden
from moe_eval_plugin.commands.routing_options import (
    OF_A_MODEL,
    add_output,
    add_questions,
    add_traces,
)
from moe_eval_plugin.commands.status import Status
from moe_eval_plugin.commands.subcommand import add_verb
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.option_values import read_bool, read_int, read_new_folder, split_arguments

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping
    from typing import Any

    from moe_eval_plugin.commands.subcommand import Subcommands
    from moe_eval_plugin.routing.page.first_screen import FirstScreen
    from moe_eval_plugin.routing.page.write import Tokenizer
    from moe_eval_plugin.routing.sources import Collection, Source

DESCRIPTION = """\
Record which experts each token of real prompts is sent to, and study the choices: retained mass
(the share of the router's weight that a smaller k keeps), margins, load, experts chosen together,
specialisation by token and by task, and, with --against, the choices shared with another
checkpoint.

MODEL reads the prompts of the tasks at its published k, with transformers. With --traces, the
choices are read from a folder instead, and no model is loaded: a study of this command, or
published traces of FLAME-MoE. Retained mass is no accuracy: `moe-eval sweep` measures that.

The folder of --output gets index.html (the page), routing.json (the study), statistics (all numbers
as Parquet), plots (the charts) and traces (the choices of every token).
"""
EPILOG = """\
examples:
  moe-eval routing demo --tasks easy_vqa --limit 100 --output runs/routing
  moe-eval routing ./flame-290m --tasks arc_easy hellaswag --host lm-eval \\
    --limit 200 --against ./flame-290m-early --output runs/flame
  moe-eval routing --traces runs/flame --output runs/flame    again, as a page
  moe-eval routing --traces flame-moe-290m/actives/iter_2700 \\
    --against-traces flame-moe-290m/actives/iter_5473 --output runs/early
"""


def add(verbs: Subcommands) -> None:
    """Add the subcommand."""
    verb = add_verb(
        verbs, "routing", run, "study what the routers of a model choose", (DESCRIPTION, EPILOG)
    )
    verb.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a folder, a model id of the Hub, or demo (embedded); none with --traces",
    )
    add_questions(verb.add_argument_group("what to ask"))
    add_traces(verb.add_argument_group("existing traces"))
    add_output(verb.add_argument_group("output"))


def run(options: argparse.Namespace) -> int:
    """Write the study and its page, and print what was found and where."""
    _check(options)
    from moe_eval_plugin.report.build import check_packages
    from moe_eval_plugin.routing.study_folder import PAGE, check_folder, study_folder

    check_packages("The page of a routing study")
    read_new_folder("--output", options.output)
    check_folder(options.output)
    with Status.of(options) as status:
        from moe_eval_plugin.routing.page.write import write_study

        sources = tuple(_read(options, status) if options.traces else _collect(options, status))
        with study_folder(options.output) as folder:
            screen = write_study(folder, sources, _command(options), status, _tokenizer(options))
    _show(options, screen)
    if options.open:
        import sys
        import webbrowser

        if not webbrowser.open((options.output / PAGE).resolve().as_uri()):
            print("No browser could be started: open the file yourself.", file=sys.stderr)
    return 0


def _check(options: argparse.Namespace) -> None:
    """Raise ``InvalidArgumentError`` unless either a model and tasks, or traces are named."""
    if options.traces is None and options.against_traces is not None:
        message = "--against-traces needs --traces: choices are compared with those of a folder."
        raise InvalidArgumentError(message)
    if options.traces is not None:
        given = [f"--{name.replace('_', '-')}" for name in OF_A_MODEL if getattr(options, name)]
        named = [*([options.model] if options.model else []), *given]
        if named:
            message = (
                f"--traces and {', '.join(named)} exclude each other: with --traces no model is "
                "asked. Leave one of them out."
            )
            raise InvalidArgumentError(message)
        return
    if options.model is None or not options.tasks:
        message = (
            "moe-eval routing needs a model and --tasks, or --traces. For example: moe-eval "
            "routing demo --tasks easy_vqa --limit 100 --output runs/routing"
        )
        raise InvalidArgumentError(message)
    if options.limit is not None:
        read_int("--limit", options.limit, at_least=1)


def _read(options: argparse.Namespace, status: Status) -> Iterator[Source]:
    from moe_eval_plugin.routing.read_sources import read_source

    status.doing("reading the traces")
    yield read_source(options.traces, status)
    if options.against_traces is not None:
        yield read_source(options.against_traces, status, against=True)


def _collect(options: argparse.Namespace, status: Status) -> Iterator[Source]:
    """Ask the model, and then the other checkpoint; both requests are checked before."""
    from moe_eval_plugin.hosts.harness import default_host
    from moe_eval_plugin.routing.collect.collect import collect
    from moe_eval_plugin.routing.collect.request import RoutingRequest
    from moe_eval_plugin.routing.sources import Source

    given = {name: getattr(options, name) for name in (*OF_A_MODEL[2:],)}
    settings = {name: value for name, value in given.items() if value not in (None, False)}
    settings["host"] = options.host or default_host()
    requests = [
        RoutingRequest(model, tuple(options.tasks), **settings)
        for model in (options.model, options.against)
        if model
    ]
    for request in requests:
        with libraries_hidden(status, verbose=options.verbose):
            trace = collect(request, status)
        yield Source(trace, _collection(options, settings))


def _collection(options: argparse.Namespace, settings: Mapping[str, Any]) -> Collection:
    """Return how the traces are collected now, on this machine."""
    from datetime import UTC, datetime

    from moe_eval_plugin.hardware.device import describe_this_machine
    from moe_eval_plugin.results.versions import installed_versions, versions_with
    from moe_eval_plugin.routing.sources import Collection

    facts = describe_this_machine()
    machine = {"name": facts.name, "devices": facts.n_devices, "threads": facts.threads}
    return Collection(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=_command(options),
        machine={name: value for name, value in machine.items() if value is not None},
        versions=versions_with(settings["host"], installed_versions()),
        settings=settings,
    )


def _tokenizer(options: argparse.Namespace) -> Tokenizer:
    """Return where the texts of tokens come from; code may run where the model's may."""
    from moe_eval_plugin.routing.page.write import Tokenizer

    given = split_arguments("--model-args", options.model_args or "")
    is_trusted = read_bool("trust_remote_code", given.get("trust_remote_code", False))
    return Tokenizer(options.tokenizer, is_trusted)


def _sweep_command(options: argparse.Namespace) -> str:
    """Return the command that measures the same questions at each k; none for traces."""
    if options.model is None:
        return ""
    words = [*(["--host", options.host] if options.host else []), "--model-args"]
    arguments = ",".join(filter(None, [f"pretrained={options.model}", options.model_args]))
    output = f"runs/{Path(options.model).name}"
    words += [arguments, "--tasks", *options.tasks, "--output", output]
    return f"moe-eval sweep {shlex.join(words)}"


def _command(options: argparse.Namespace) -> str:
    """Return the command that repeats the study."""
    words = ["moe-eval", "routing", *([options.model] if options.model else [])]
    for name in (*OF_A_MODEL, "traces", "against_traces", "tokenizer", "output"):
        value = getattr(options, name)
        if value not in (None, False):
            values = [] if value is True else value if isinstance(value, list) else [value]
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return shlex.join(words)


def _show(options: argparse.Namespace, screen: FirstScreen) -> None:
    """Print what was found, and where the page is."""
    from moe_eval_plugin.routing.study_folder import PAGE, PLOTS, STATISTICS, STUDY, TRACES

    page = options.output / PAGE
    found = [f"{screen.headline}.", screen.reason, *screen.findings]
    if options.json:
        paths = {
            "page": page,
            "study": options.output / STUDY,
            "traces": options.output / TRACES,
            "statistics": options.output / STATISTICS,
            "plots": options.output / PLOTS,
        }
        content = {**{name: str(path) for name, path in paths.items()}, "findings": found}
        print(json.dumps(content, indent=2, ensure_ascii=False))
    elif is_silent(options):
        show_end(*found)
    else:
        size = f"{page.stat().st_size / 1e6:.1f} MB"
        show_end(
            *found,
            f"Page: {shown(page)} ({size}); all numbers in {shown(options.output)}",
            following=_sweep_command(options),
        )
