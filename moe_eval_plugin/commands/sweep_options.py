"""The options of ``moe-eval sweep``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from moe_eval_plugin.hosts.harness import PACKAGES

if TYPE_CHECKING:
    import argparse

    from moe_eval_plugin.commands.subcommand import Options

LAUNCHERS = ("local", "ray", "slurm")


def add_study(verb: argparse.ArgumentParser) -> None:
    """Add the study file, whose options those of the command line replace."""
    verb.add_argument(
        "study",
        nargs="?",
        type=Path,
        metavar="STUDY",
        help="YAML file with these options by name, e.g. study.yaml; it comes first, and options "
        "on the command line replace its own",
    )


def add_options(verb: argparse.ArgumentParser) -> None:
    """Add the options that a command line and, but for a few, a study can have."""
    _add_questions(verb.add_argument_group("what to run"))
    _add_settings(verb.add_argument_group("settings to try"))
    _add_timing(verb.add_argument_group("timed pass, which changes no answer"))
    _add_output(verb.add_argument_group("output"))
    _add_launch(verb.add_argument_group("where it runs"))


def _add_settings(verb: Options) -> None:
    verb.add_argument(
        *("-k", "--experts-k"),
        nargs="+",
        default=[],
        metavar="K",
        help="experts per token to try, e.g. 8 6 4 2, schedules, or @FILE of `moe-eval tune` "
        "(default: the published k, halved down to 1)",
    )
    verb.add_argument(
        "--experts-policy",
        nargs="+",
        default=["uniform"],
        metavar="RULE",
        help="rules that drop experts, NAME:NUMBER or @FILE, each combined with each k (default: "
        "uniform, which drops none)",
    )
    verb.add_argument(
        "--policies",
        nargs="+",
        default=[],
        metavar="RULE",
        help="rules that drop experts, NAME:NUMBER or @FILE, each a setting of its own, at the "
        "published k, beside those of --experts-k",
    )
    verb.add_argument(
        "--renorm",
        nargs="+",
        default=["native"],
        metavar="NAME",
        help="how to scale the weights of the experts kept: native (default), keep-mass or unit",
    )
    verb.add_argument(
        "--seeds",
        nargs="+",
        type=int,
        default=[],
        metavar="N",
        help="repeat everything once per seed; 2 or more give task throughput an interval",
    )


def _add_questions(verb: Options) -> None:
    verb.add_argument(
        "--host",
        choices=tuple(PACKAGES),
        help="host that asks the questions (default: that of an earlier sweep in --output, else "
        "lmms-eval where it is installed, else lm-eval)",
    )
    verb.add_argument(
        *("-m", "--model"),
        nargs="+",
        default=["moe_hf"],
        metavar="NAME",
        help="backend: moe_hf (transformers, default) or moe_vllm; with lm-eval and images "
        "moe_hf-multimodal or moe_vllm-vlm; with several, each gets a subfolder of --output",
    )
    verb.add_argument(
        *("-a", "--model-args"),
        nargs="+",
        default=[""],
        metavar="NAME=VALUE[,..]",
        help="model arguments; pretrained=MODEL is required, e.g. pretrained=demo,dtype=bfloat16 "
        "(not experts_k: use --experts-k); with several models one for all, or one for each",
    )
    verb.add_argument(
        "--checkpoints",
        nargs="+",
        default=[],
        metavar="CHECKPOINT",
        help="two or more checkpoints of one model, e.g. seeds of its training: folders or "
        "ID@REVISION, in place of pretrained=; each gets a subfolder of --output",
    )
    verb.add_argument(
        *("-t", "--tasks"),
        nargs="+",
        metavar="TASK",
        help="tasks of the host, e.g. easy_vqa okvqa",
    )
    _add_prompts(verb)


def _add_prompts(verb: Options) -> None:
    verb.add_argument(
        *("-l", "--limit"), type=int, metavar="N", help="questions of each task (default: all)"
    )
    verb.add_argument(
        *("-b", "--batch-size"),
        metavar="N",
        help="questions in a batch, or auto: 64 on a GPU, 16 on a CPU, or fewer that fit; found at "
        "the first setting and the same for all; with moe_vllm, as its scheduler decides "
        "(default: auto; 1 with transformers in lm-eval, as there)",
    )
    verb.add_argument("--device", help="cpu, cuda, ... (default: cuda where there is one)")
    verb.add_argument(
        "--gen-kwargs", metavar="NAME=VALUE[,..]", help="generation arguments, as in the host"
    )
    verb.add_argument("--include-path", metavar="FOLDER", help="a folder with more tasks")
    verb.add_argument(
        "--num-fewshot", type=int, metavar="N", help="examples in each prompt (default: the task's)"
    )
    verb.add_argument(
        "--apply-chat-template",
        action="store_true",
        help="pass prompts through the chat template, with lm-eval; lmms-eval always does",
    )


def _add_timing(verb: Options) -> None:
    verb.add_argument(
        "--speed-precision",
        default="0.03",
        metavar="SHARE",
        help="end the timed pass when the 95%% interval of each speed-up is narrower than this "
        "share of it: 0.03 or 3%% (default: 0.03)",
    )
    verb.add_argument(
        "--speed-budget",
        default="auto",
        metavar="SECONDS",
        help="or when this time is spent; 0 for no timed pass (default: auto, the time of "
        "answering 1,000 questions at each setting, one minute at least)",
    )
    verb.add_argument(
        "--batch-sizes",
        nargs="+",
        default=[],
        metavar="N",
        help="batch sizes to time (default: the one that answered the questions)",
    )
    verb.add_argument(
        "--timing-rounds",
        default="auto",
        metavar="N",
        help="rounds over vLLM engines, each of which holds one k (default: auto)",
    )
    verb.add_argument(
        "--timing-seed",
        default="0",
        metavar="N",
        help="seed that chooses the questions to time (default: 0)",
    )


def _add_output(verb: Options) -> None:
    verb.add_argument(
        *("-o", "--output"),
        type=Path,
        metavar="FOLDER",
        help="folder for results, logs and resume data (default: that of MOE_EVAL_OUTPUT)",
    )
    verb.add_argument(
        "--dry-run", action="store_true", help="show settings, questions, time and memory, and stop"
    )
    verb.add_argument(
        "--restart",
        action="store_true",
        help="if settings changed, start over; old results move to FOLDER.stale",
    )
    verb.add_argument(
        "--save-study", type=Path, metavar="FILE", help="write the options as a study, and stop"
    )
    verb.add_argument("--json", action="store_true", help="print JSON at the end, not a table")


def _add_launch(verb: Options) -> None:
    verb.add_argument(
        "--launcher",
        choices=LAUNCHERS,
        default="local",
        help="where the settings run (default: local)",
    )
    verb.add_argument(
        "--gpus-per-point",
        type=float,
        default=0,
        metavar="N",
        help="GPUs for each setting, with ray and slurm (default: 0)",
    )
    verb.add_argument(
        "--launcher-options",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="options of ray.init (address, num_cpus) or submitit (slurm_partition, timeout_min)",
    )
    verb.add_argument(
        "--separate",
        action="store_true",
        help="run every k in its own process of the host (slower)",
    )
    verb.add_argument(
        "--processes-per-point",
        type=int,
        default=1,
        metavar="N",
        help="share the questions of each setting among N processes of accelerate (default: 1)",
    )
    verb.add_argument(
        "--input-cache-gib",
        type=float,
        metavar="GIB",
        help="RAM for encoded inputs; beyond it they are encoded again (default: a quarter of the "
        "free RAM)",
    )
