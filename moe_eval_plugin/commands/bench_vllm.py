"""The arguments of ``moe-eval bench --backend vllm``: vLLM runs a model."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.option_values import read_pairs
from moe_eval_plugin.text import did_you_mean

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from moe_eval_plugin.bench.plan import BenchPlan
    from moe_eval_plugin.bench.targets.target import PreparedBench
    from moe_eval_plugin.engines.vllm.options import VLLMOptions

# Dest of the option: its default, and why it cannot be anything else.
REFUSED: dict[str, tuple[object, str]] = {
    "routing": ("uniform", "vLLM makes its own random weights, and nothing sets their routing"),
    "config": ([], "vLLM uses the configuration of the model unchanged"),
    "device": (None, "vLLM runs on the type of device that it was built for"),
    "experts_implementation": (
        None,
        "vLLM has its own kernels; --engine-args moe_backend=triton chooses one",
    ),
    "attn_implementation": (
        None,
        "vLLM has its own kernels; --engine-args attention_backend=... chooses one",
    ),
    "images": (0, "its prompts are text tokens only"),
    "image": ([], "its prompts are text tokens only"),
}
OWN_OPTIONS = {
    "dtype": "--dtype",
    "enforce_eager": "--enforce-eager",
    "revision": "--revision",
    "trust_remote_code": "--trust-remote-code",
}


@contextmanager
def prepare(options: argparse.Namespace, plan: BenchPlan) -> Iterator[PreparedBench]:
    """Prepare the bench that the arguments request; vLLM starts once they are checked."""
    from moe_eval_plugin.bench.targets.vllm import prepare_bench, require_vllm

    _refuse_options(options)
    require_vllm()
    with prepare_bench(
        _engine_options(options),
        plan,
        with_random_weights=options.random_weights,
        with_calibration=options.calibrate,
    ) as bench:
        yield bench


def parse_engine_args(items: Sequence[str]) -> dict[str, Any]:
    """Read ``KEY=VALUE`` items for vLLM, each as vLLM's own command line reads it.

    Raises ``InvalidArgumentError`` for a name that vLLM does not have, for one that is given
    twice, and for a value that vLLM does not accept.
    """
    from moe_eval_plugin.engines.vllm.options import engine_argument_names, read_engine_values

    known = engine_argument_names()
    given = read_pairs("--engine-args", items, "KEY=VALUE, e.g. tensor_parallel_size=2")
    for name, value in given.items():
        if name in OWN_OPTIONS:
            message = f"--engine-args {name}={value} is refused: pass it as {OWN_OPTIONS[name]}."
            raise InvalidArgumentError(message)
        if name not in known:
            raise InvalidArgumentError(_unknown(name, known))
    return read_engine_values(given)


def _refuse_options(options: argparse.Namespace) -> None:
    for name, (default, reason) in REFUSED.items():
        if getattr(options, name) != default:
            message = (
                f"--{name.replace('_', '-')} is not possible with --backend vllm: {reason}. Leave "
                "it out, or use --backend hf."
            )
            raise InvalidArgumentError(message)


def _engine_options(options: argparse.Namespace) -> VLLMOptions:
    from moe_eval_plugin.engines.vllm.options import VLLMOptions

    return VLLMOptions(
        pretrained=options.model,
        revision=options.revision,
        verify=options.verify,
        trust_remote_code=options.trust_remote_code,
        engine={
            "dtype": options.dtype,
            "enforce_eager": options.enforce_eager,
            **parse_engine_args(options.engine_args),
        },
    )


def _unknown(name: str, known: Sequence[str]) -> str:
    return (
        f"--engine-args {name} is not an engine argument of this vLLM that can be set here."
        f"{did_you_mean(name, known)} `vllm serve --help=all` lists them, with dashes for "
        "underscores."
    )
