"""A study file does what its options do on a command line, and one that is wrong is one message."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from moe_eval_plugin import cli
from moe_eval_plugin.cli import build_parser
from moe_eval_plugin.commands.study_file import command_arguments, with_study
from moe_eval_plugin.commands.subcommand import CommandParser
from moe_eval_plugin.commands.sweep_options import add_options
from moe_eval_plugin.publish.bundle.study import STUDY_OPTIONS, study_of, study_text

GIVEN = ("--model-args", "pretrained=demo", "--tasks", "easy_vqa", "--output", "out")
STUDY = """\
model_args:  # comments are allowed
  pretrained: demo
tasks: [easy_vqa, okvqa]
experts_k: [8, "4", 8/image:2]
limit: 12
batch-size: 4
gen_kwargs: {max_new_tokens: 010}
separate: yes
host: lm-eval
num_fewshot: 0
apply-chat-template: on
output: runs/study
"""
# What is about one call of the command, and not about what is measured.
NOT_IN_A_STUDY = {"help", "study", "save_study", "dry_run", "restart", "json", "quiet", "verbose"}


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def arguments_of(command: str) -> list[str]:
    """Return the options of a sweep that are not at their defaults, with those of its study."""
    options = build_parser().parse_args(["sweep", *shlex.split(command)])
    return command_arguments(with_study(options))


def refused(study: str, capsys: pytest.CaptureFixture[str]) -> str:
    Path("study.yaml").write_text(study)
    assert cli.main(["sweep", "study.yaml", *GIVEN]) == 2
    return capsys.readouterr().err


def test_files_are_looked_up_beside_the_study_first() -> None:
    Path("shared").mkdir()
    Path("shared", "a.yaml").write_text("- {k: 4}\n")
    Path("shared", "study.yaml").write_text(
        "experts_k: [8, '@a.yaml', '@b.yaml']\npolicies: '@a.yaml'\n"
    )
    found = " ".join(arguments_of(f"shared/study.yaml {shlex.join(GIVEN)}"))
    assert "--experts-k 8 @shared/a.yaml @b.yaml --policies @shared/a.yaml" in found


def test_a_study_is_the_command_that_it_writes_out() -> None:
    Path("study.yaml").write_text(STUDY)

    assert arguments_of("study.yaml") == shlex.split(
        "--host lm-eval --model-args pretrained=demo --tasks easy_vqa okvqa --experts-k 8 4 "
        "8/image:2 --limit 12 --batch-size 4 --gen-kwargs max_new_tokens=010 --num-fewshot 0 "
        "--apply-chat-template --output runs/study --separate"
    )


def test_options_on_the_command_line_replace_those_of_the_study() -> None:
    Path("study.yaml").write_text(STUDY)

    found = " ".join(arguments_of("study.yaml --limit 5 --experts-k 4 --output out"))

    assert "--experts-k 4 --limit 5 --batch-size 4" in found
    assert "--output out" in found


def test_every_option_of_a_sweep_is_one_of_a_study_or_about_one_call() -> None:
    parser = CommandParser()
    add_options(parser)
    names = {action.dest for action in parser._actions}

    assert names - NOT_IN_A_STUDY == {*STUDY_OPTIONS}


@pytest.mark.parametrize(
    "command",
    [
        "--model-args pretrained=demo --tasks easy_vqa --output out",
        "--model moe_hf moe_vllm --model-args pretrained=a/b dtype=auto --tasks a b --output out",
        "--experts-k 8 0-11:8/12-47:4 1:30 --seeds 0 1 --tasks a --output 'my runs'",
        "--separate --launcher ray --launcher-options a=1 b=x --tasks a --output out",
        "--input-cache-gib 0.5 --gen-kwargs top_p=0.7,until=no --tasks a --output out",
        "--model-args 'pretrained=demo,chat_template_kwargs={\"a\": no}' --tasks a --output out",
        (
            '--host lm-eval --model-args \'{"pretrained": "a,b"}\' --tasks a --num-fewshot 0 '
            "--apply-chat-template --output out"
        ),
    ],
)
def test_a_study_that_is_written_is_read_as_the_same_options(command: str) -> None:
    wanted = arguments_of(command)
    Path("study.yaml").write_text(study_text(study_of(["moe-eval", "sweep", *wanted])))

    assert arguments_of("study.yaml") == wanted


def test_the_options_of_a_command_are_saved_and_nothing_is_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["sweep", *GIVEN, "--limit", "5", "--save-study", "s.yaml"]) == 0
    assert capsys.readouterr().out == "Saved s.yaml. Next: moe-eval sweep s.yaml\n"
    assert Path("s.yaml").read_text() == (
        "# The settings of a sweep. Run it with: moe-eval sweep s.yaml\n"
        "model_args:\n  pretrained: demo\ntasks: easy_vqa\nlimit: 5\noutput: out\n"
    )
    assert cli.main(["sweep", *GIVEN, "--save-study", "s.yaml"]) == 2
    assert "--save-study s.yaml exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ("limit: 4.5", "study.yaml: limit: '4.5' is not a whole number."),
        ("limit:", "study.yaml: limit: it has no value."),
        ("limt: 4", "study.yaml: limt is not an option of a study. Did you mean limit?"),
        ("limit: 4\nlimit: 5", "study.yaml, line 1 cannot be read as YAML: limit is given more"),
        ("limit: [", "study.yaml, line 1 cannot be read as YAML"),
        ("batch_sizes: []", "study.yaml: batch_sizes: expected at least one argument."),
        ("tasks: [a, [b]]", "study.yaml: tasks has a list where it needs a text."),
        ("limit: {a: 1}", "study.yaml: limit has a mapping where it needs a text."),
        ("gen_kwargs: {a: {b: 1}}", "study.yaml: a has a mapping where it needs a text."),
        ("separate: maybe", "separate=maybe is not possible. Use true or false"),
        ("launcher: slrum", "Did you mean slurm?"),
        ("easy_vqa", "study.yaml is not a study. Write `option: value` lines"),
    ],
)
def test_a_study_that_is_wrong_is_one_message(
    study: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(study, capsys)
    assert message in said
    assert len(said.splitlines()) == 1


def test_what_is_no_study_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    Path("study.yaml").write_text(STUDY)
    Path("binary.yaml").write_bytes(b"\xff")
    for arguments, message in (
        (["binary.yaml"], "binary.yaml cannot be read"),
        (["nope.yaml"], "No such file: nope.yaml. Pass a study in YAML, or write one"),
        (["."], ". is a folder, and a study is a YAML file"),
        (["--tasks", "a", "study.yaml"], "A study comes first: `moe-eval sweep study.yaml ...`"),
    ):
        assert cli.main(["sweep", *arguments]) == 2
        assert message in capsys.readouterr().err


def test_the_study_of_the_documentation_runs(
    repository_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (repository_root / "docs" / "reference" / "study-file.md").read_text("utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    Path("study.yaml").write_text(example)

    assert cli.main(["sweep", "study.yaml", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "questions in each setting: 500 of easy_vqa; 3,000 answers to go" in shown
    assert "until each speed-up is known to 3.0%, for 60 s at most" in shown
