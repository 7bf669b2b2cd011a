from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moe_eval_plugin.bench.plan import BenchPlan
from moe_eval_plugin.bench.runner import run_bench
from moe_eval_plugin.bench.targets.target import BenchTarget
from moe_eval_plugin.hardware.device import DeviceFacts
from moe_eval_plugin.models.costs.cost_model import AttentionShape, LanguageModelCost, RoutedLayer
from tests.bench.clockwork_engine import BASELINE, ClockworkEngine

if TYPE_CHECKING:
    from moe_eval_plugin.bench.report import BenchReport

COST = LanguageModelCost(
    matrix_parameters=50,
    head_parameters=50,
    routed_layers=(RoutedLayer(64, 100), RoutedLayer(64, 100)),
    attentions=(AttentionShape(score_size=5, value_size=5, cached_numbers=10),),
)


DEVICE = DeviceFacts(
    "cpu",
    name="a processor",
    memory_bandwidth_bytes_per_s=1e6,
    peak_flops_per_s={"float32": 1e6},
)


PLAN = BenchPlan(experts_k=(8, 4, 1), batch_sizes=(1, 2), prompt_tokens=6, new_tokens=9)


class WithoutEnergy(ClockworkEngine):
    def energy(self) -> dict[str, Any]:
        return {"source": None, "reasons": ["there is no counter"]}


def a_report(plan: BenchPlan = PLAN, cost: LanguageModelCost | None = COST) -> BenchReport:
    reason = None if cost else "its sizes are not known"
    model = {"name": "clockwork", "model_type": "clock", "num_experts": 64, "dtype": "float32"}
    target = BenchTarget(WithoutEnergy(), model, "float32", BASELINE, cost, reason)
    return run_bench(target, plan, DEVICE)
