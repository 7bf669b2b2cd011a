"""Start vLLM on a model for a bench."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from moe_eval_plugin.bench.plan import ImagePlan
from moe_eval_plugin.bench.targets.target import (
    BenchTarget,
    PreparedBench,
    model_sizes,
    read_cost,
)
from moe_eval_plugin.bench.targets.transformers import check_prompts
from moe_eval_plugin.engines.checks.vllm_config import register_configuration
from moe_eval_plugin.engines.expert_request import ModelConfig
from moe_eval_plugin.errors import MissingDependencyError
from moe_eval_plugin.hardware.calibration import calibrate
from moe_eval_plugin.hardware.device import DeviceFacts, describe_device
from moe_eval_plugin.models.parameters import build_on_meta

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.bench.engines.vllm import VLLMBenchEngine
    from moe_eval_plugin.bench.plan import BenchPlan
    from moe_eval_plugin.engines.vllm.options import VLLMOptions


def require_vllm() -> None:
    """Raise ``MissingDependencyError`` unless vLLM can be imported."""
    # What vLLM logs must not be mixed into a report on standard output.
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    try:
        import vllm  # noqa: F401
    except ImportError as error:
        message = (
            f"--backend vllm needs vLLM, which cannot be imported here ({error}). Install it with: "
            "pip install 'moe-eval-plugin[vllm]', or use --backend hf."
        )
        raise MissingDependencyError(message) from error


@contextmanager
def prepare_bench(
    options: VLLMOptions,
    plan: BenchPlan,
    *,
    with_random_weights: bool = False,
    with_calibration: bool = False,
) -> Iterator[PreparedBench]:
    """Check the plan against the configuration, start vLLM, and yield the prepared bench.

    vLLM runs until the block ends.
    """
    from moe_eval_plugin.bench.engines.vllm import VLLMBenchEngine

    register_configuration(options)
    model = ModelConfig.load(options)
    plan = plan.for_model(model.description)
    check_prompts(model.config, plan, ImagePlan())
    if with_random_weights:
        options = replace(options, engine={"load_format": "dummy", **options.engine})
    with closing(VLLMBenchEngine(options, plan, model)) as engine:
        target = _target(plan, model, engine, "random" if with_random_weights else "trained")
        device = _device_facts(engine, target.dtype, with_calibration=with_calibration)
        yield PreparedBench(target, plan, device)


def _target(
    plan: BenchPlan, model: ModelConfig, engine: VLLMBenchEngine, weights: str
) -> BenchTarget:
    """Build the target; its cost is read from the model's shape, without weights."""
    description, facts = model.description, engine.facts()
    shape = build_on_meta(model.config, trust_remote_code=model.trust_remote_code)
    cost, reason, counted = read_cost(shape, description)
    dtype = facts["quantization"] or facts["dtype"]
    return BenchTarget(
        engine=engine,
        model={
            "name": model.pretrained,
            "weights": weights,
            "backend": "vllm",
            **model_sizes(model.config, description),
            **counted,
            "dtype": dtype,
            "engine": facts,
        },
        dtype=dtype,
        baseline=description.num_experts_per_tok or None,
        cost=cost,
        cost_unknown_reason=reason,
        notes=engine.notes(plan),
    )


def _device_facts(engine: VLLMBenchEngine, dtype: str, *, with_calibration: bool) -> DeviceFacts:
    found = engine.device()
    of_worker = DeviceFacts(**{**found, "reasons": tuple(found["reasons"])})
    if not with_calibration:
        return of_worker
    device = "cuda:0" if of_worker.kind == "cuda" else of_worker.kind
    measured = describe_device(device, calibration=calibrate(device, dtype))
    return replace(measured, n_devices=of_worker.n_devices, threads=of_worker.threads)
