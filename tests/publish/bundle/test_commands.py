"""The commands that make a finished run again, made from what its results say."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.cli import build_parser
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.experts.schedules.tuned_file import TunedFile, parse_tuned_text
from moe_eval_plugin.publish.bundle.commands import (
    run_command,
    sweep_commands,
    tuned_file_of,
    with_checkpoint,
)
from moe_eval_plugin.publish.bundle.study import study_texts
from moe_eval_plugin.publish.reproduce.rerun import Changes
from moe_eval_plugin.results.files import read_run
from moe_eval_plugin.sweeps.manifest import Entry, Manifest
from tests.experts.schedules.tuned_files import record
from tests.publish.bundle.finished_sweeps import SETTINGS, change, in_record, point
from tests.report.report_runs import TASK, write_run, wrong_every
from tests.results.lm_eval_files import RESULTS_FILE
from tests.results.timing.timed_files import timed_pass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


Setting = tuple[str, str, str]


BASELINE: Setting = ("8", "uniform", "native")


SETTINGS_OF_POINTS = st.lists(
    st.tuples(
        st.sampled_from(["8", "4", "8/image:2"]),
        st.sampled_from(["uniform", "top_p:0.7"]),
        st.sampled_from(["native", "unit"]),
    ),
    unique=True,
    max_size=8,
)


def manifest(points: Iterable[dict[str, Any]], **settings: object) -> Manifest:
    """Make the manifest of a sweep with these points."""
    entries = {str(number): Entry(fields, "digest", "done") for number, fields in enumerate(points)}
    return Manifest(Path("sweep"), {**SETTINGS, **settings}, ("moe-eval", "sweep"), entries)


def of_setting(setting: Setting) -> dict[str, Any]:
    k, policy, renorm = setting
    is_baseline = setting == BASELINE
    fields = {"experts_policy": policy, "renorm": renorm, "is_baseline": is_baseline}
    return {**point(k), **fields}


def made(command: Sequence[str]) -> set[Setting]:
    """Return the settings that a command of a sweep makes, its baseline included."""
    options = build_parser().parse_args(list(command[1:]))
    axes = options.experts_k, options.experts_policy, options.renorm
    alone = itertools.product(BASELINE[:1], options.policies, options.renorm)
    return {BASELINE, *itertools.product(*axes), *alone}


def test_a_sweep_is_one_command_with_the_settings_that_its_points_share() -> None:
    (command,) = sweep_commands(manifest(map(point, (8, 4, 1))))
    options = build_parser().parse_args(command[1:])
    assert options.experts_k == ["8", "4", "1"]
    assert (options.model, options.model_args) == (["moe_hf"], ["pretrained=demo"])
    assert (options.tasks, options.limit, options.batch_size) == (["easy_vqa"], 40, "4")
    assert options.seeds == []
    assert command[-2:] == ["--output", "{output}"]


@given(SETTINGS_OF_POINTS)
def test_the_commands_make_exactly_the_points_that_there_were(settings: list[Setting]) -> None:
    wanted = list(dict.fromkeys([BASELINE, *settings]))
    commands = sweep_commands(manifest(map(of_setting, wanted)))
    assert set().union(*map(made, commands)) == set(wanted)


def test_rules_that_share_their_ks_are_one_command_whether_the_baseline_was_named_or_not() -> None:
    for ks in (["8", "4"], ["4", "2"]):
        settings = itertools.product(ks, ["uniform", "top_p:0.7"], ["native"])
        wanted = dict.fromkeys([BASELINE, *settings])
        assert len(sweep_commands(manifest(map(of_setting, wanted)))) == 1


def test_tuned_settings_are_named_by_their_files_and_policies_are_settings_of_their_own() -> None:
    tuned = {**point("8/0-1:3"), "tuning": record("tuned-0.5").to_dict()}
    policy = {**of_setting(("8", "top_p:0.7", "native")), "tuning": record("p", "top_p").to_dict()}
    alone = of_setting(("8", "threshold:0.2", "native"))
    (command,) = sweep_commands(manifest([point(8), point(4), tuned, alone, policy]))
    options = build_parser().parse_args(command[1:])
    assert options.experts_k == ["8", "4", "@schedules/tuned-0.5.yaml"]
    assert options.experts_policy == ["uniform"]
    assert options.policies == ["threshold:0.2", "@schedules/p.yaml"]


def test_the_file_of_a_run_is_written_from_its_results(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", 2, wrong_every(4))
    assert tuned_file_of(read_run(path)) is None
    named = {"pretrained": "demo", "experts_k": "@/home/me/mine.yaml"}

    def of_a_plain_list(content: dict[str, Any]) -> None:
        content["config"]["model_args"] = ",".join(f"{k}={v}" for k, v in named.items())
        content["moe_eval"][TASK]["provenance"]["experts_k"] = "8/0-1:3"

    change(path, of_a_plain_list)
    assert "experts_k=8/0-1:3," in " ".join(run_command(read_run(path)))
    change(path, in_record(lambda one: one["provenance"].update(tuning=record("t").to_dict())))
    assert "experts_k=@schedules/t.yaml," in " ".join(run_command(read_run(path)))
    name, text = tuned_file_of(read_run(path)) or ("", "")
    assert name == "schedules/t.yaml"
    schedule = parse_experts_k("8/0-1:3")
    assert parse_tuned_text(text, name) == TunedFile(schedule, tuning=record("t"))


def test_seeds_are_taken_over() -> None:
    points = [point(k, seed, several=True) for seed in (1, 2) for k in (8, 4)]
    (command,) = sweep_commands(manifest(points))
    assert build_parser().parse_args(command[1:]).seeds == [1, 2]


def test_the_commit_of_a_checkpoint_is_pinned() -> None:
    pinned = {"model revision": "c0ffee", "model_args": "pretrained=a/b"}
    (command,) = sweep_commands(manifest([point(8)], **pinned))
    assert "pretrained=a/b,revision=c0ffee" in command
    named = {**pinned, "model_args": "pretrained=a/b,revision=main"}
    (command,) = sweep_commands(manifest([point(8)], **named))
    assert "pretrained=a/b,revision=main" in command


def test_how_questions_were_shared_among_processes_is_taken_over() -> None:
    found = manifest([point(8)])
    found.command = ("moe-eval", "sweep", "--processes-per-point=2", "--separate", "--json")
    (command,) = sweep_commands(found)
    options = build_parser().parse_args(command[1:])
    assert (options.processes_per_point, options.separate, options.json) == (2, True, False)


def test_the_options_of_the_timed_pass_are_taken_over() -> None:
    found = manifest([point(8)])
    timing = ["--speed-budget", "30", "--speed-precision", "0.05", "--timing-seed", "7"]
    found.command = ("moe-eval", "sweep", *timing, "--batch-sizes", "1", "16", "--tasks", "t")
    (command,) = sweep_commands(found)
    text = " ".join(command)
    assert "--speed-precision 0.05 --speed-budget 30 --timing-seed 7 --batch-sizes 1 16 -" in text
    chosen = manifest([point(8)], batch_size="auto")
    (command,) = sweep_commands(chosen, [timed_pass({"k8": [1.0]}, batch_size=64)])
    assert "--batch-size auto" in " ".join(command)
    assert "--batch-sizes 64" in " ".join(command)
    usual = manifest([point(8)])
    usual.command = ("moe-eval", "sweep", "--batch-size", "4", "--tasks", "easy_vqa")
    (command,) = sweep_commands(usual, [timed_pass({"k8": [1.0]})])
    assert "--batch-sizes" not in command


def test_a_single_run_is_the_host_s_own_command(tmp_path: Path) -> None:
    path = write_run(tmp_path, 4)

    def settings(content: dict[str, Any]) -> None:
        content["config"] |= {
            "model_args": "pretrained=demo,experts_k=4",
            "limit": 24.0,
            "batch_size": "2",
            "random_seed": 0,
            "numpy_seed": 1,
            "torch_seed": 2,
            "fewshot_seed": 3,
        }
        more = {"trust_remote_code": True, "apply_chat_template": False, "repeats": 1}
        content["config"]["resolved_cli_args"] |= {**more, "output_path": "elsewhere"}

    change(path, settings)
    change(path, in_record(lambda record: record["provenance"].update(revision=None)))
    command = run_command(read_run(path))
    assert command == [
        *("lmms-eval", "--model", "moe_hf", "--model_args", "pretrained=demo,experts_k=4"),
        *("--tasks", "easy_vqa", "--batch_size", "2", "--limit", "24", "--seed", "0,1,2,3"),
        *("--trust_remote_code", "--log_samples", "--output_path", "{output}"),
    ]


def test_a_sweep_of_lm_eval_names_its_host_and_the_options_of_prompts() -> None:
    given = {
        "host": "lm-eval",
        "model": "moe_hf-multimodal",
        "model_args": '{"pretrained": "a,b"}',
        "model revision": "0004",
        "num_fewshot": 0,
        "apply_chat_template": True,
    }
    (command,) = sweep_commands(manifest(map(point, (8, 4)), **given))
    assert command[:6] == ["moe-eval", "sweep", "--host", "lm-eval", "--model", "moe_hf-multimodal"]
    assert command[7] == '{"pretrained": "a,b", "revision": "0004"}'
    text = " ".join(command)
    assert "--num-fewshot 0 --apply-chat-template --tasks easy_vqa" in text
    assert "--host" not in sweep_commands(manifest([point(8)]))[0]
    moved = Changes("demo", pretrained="/models/c").applied(command)
    assert moved[7] == "pretrained=/models/c"
    assert [*moved[:7], *moved[8:]] == [*command[:7], *command[8:]]
    study = study_texts([command])["study.yaml"]
    assert yaml.safe_load(study)["model_args"] == command[7]


def test_a_single_run_of_lm_eval_is_its_own_command(repository_root: Path) -> None:
    command = run_command(read_run(repository_root / RESULTS_FILE))
    assert command == [
        *("moe-eval", "lm-eval", "run", "--model", "hf"),
        *("--model_args", "pretrained=tiny,dtype=float32"),
        *("--tasks", "sums,last_word,numbers,prose", "--batch_size", "1", "--device", "cpu"),
        *("--seed", "0,1234,1234,1234", "--log_samples", "--output_path", "{output}"),
    ]
    assert Changes("tiny").applied(command) == command


def test_questions_that_are_named_cannot_be_limited() -> None:
    command = ["moe-eval", "lm-eval", "run", "--samples", '{"a": [0]}', "--output_path", "{output}"]
    with pytest.raises(InvalidArgumentError, match="names the questions to ask with --samples"):
        Changes("demo", limit=1).applied(command)


def test_a_limit_and_another_place_of_the_checkpoint_change_a_command() -> None:
    (command,) = sweep_commands(manifest([point(8)], limit=None, model_args="a=1,pretrained=x"))
    changed = Changes("demo", limit=7, pretrained="/models/x").applied(command)
    options = build_parser().parse_args(changed[1:])
    assert (options.limit, options.model_args) == (7, ["pretrained=/models/x,a=1"])
    assert changed[-2:] == ["--output", "{output}"]
    assert Changes("demo", limit=9).applied(changed).count("--limit") == 1


@pytest.mark.parametrize(
    ("model_args", "changed"),
    [
        ("", "pretrained=some/model"),
        ("dtype=auto,revision=c0ffee", "pretrained=some/model,dtype=auto,revision=c0ffee"),
        ("pretrained=demo,dtype=auto", "pretrained=demo,dtype=auto"),
    ],
)
def test_a_checkpoint_that_the_environment_named_is_the_recorded_one(
    model_args: str, changed: str
) -> None:
    (sweep,) = sweep_commands(manifest([point(8)], model="moe_hf", model_args=model_args))
    options = build_parser().parse_args(Changes("some/model").applied(sweep)[1:])
    assert (options.model, options.model_args) == (["moe_hf"], [changed])
    for program in (["lmms-eval"], ["moe-eval", "lm-eval", "run"]):
        start = [*program, "--model", "moe_hf", "--model_args"]
        single = [*start, model_args, "--output_path", "x"]
        assert Changes("some/model").applied(single) == [*start, changed, "--output_path", "x"]


def test_a_sweep_whose_checkpoint_is_unknown_asks_for_it() -> None:
    (sweep,) = sweep_commands(manifest([point(8)], model="moe_hf", model_args=""))
    with pytest.raises(InvalidArgumentError, match="Pass it with --pretrained"):
        Changes("unknown").applied(sweep)
    single = ["lmms-eval", "--model", "qwen3_vl", "--output_path", "x"]
    assert Changes("some/model").applied(single) == single


def test_another_checkpoint_takes_no_revision_over() -> None:
    text = 'pretrained=some/model,revision=c0ffee,chat_template_kwargs={"a": 1, "b": 2},dtype=auto'
    command = ["lmms-eval", "--model_args", text, "--output_path", "out"]
    kept = 'pretrained=./copy,chat_template_kwargs={"a": 1, "b": 2},dtype=auto'
    changed = with_checkpoint(command, "./copy")
    assert changed == ["lmms-eval", "--model_args", kept, "--output_path", "out"]
