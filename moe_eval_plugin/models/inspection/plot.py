"""Draw the cost of a model at each k; needs matplotlib, from the extra ``report``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidArgumentError, MissingDependencyError
from moe_eval_plugin.files import replacing

if TYPE_CHECKING:
    from moe_eval_plugin.models.costs.cost_at_k import CostAtK
    from moe_eval_plugin.models.inspection.report import ModelReport

NOT_INSTALLED = (
    "A plot needs matplotlib, which is not installed. Run "
    '`pip install "moe-eval-plugin[report]"`, or leave --plot out.'
)
SIZE_INCHES = (14, 4.4)
DPI = 150
GIGA = 1e9
MEGA = 1e6


def check_plot(path: Path) -> None:
    """Raise what ``draw`` raises for a path, or without matplotlib, which is not imported."""
    if path.suffix != ".png":
        message = f"plot={path} does not end in .png. Use a name such as costs.png."
        raise InvalidArgumentError(message)
    if find_spec("matplotlib") is None:
        raise MissingDependencyError(NOT_INSTALLED)


def draw(report: ModelReport, path: Path) -> None:
    """Draw active parameters, FLOPs per token and the ceilings over k, as a PNG file.

    k goes up to twice the published one.
    The file is complete or not there. Raises ``MissingDependencyError`` without matplotlib, and
    ``InvalidArgumentError`` for a model whose costs are not known, for a path that does not end
    in ``.png`` and for one that cannot be written.
    """
    check_plot(path)
    if not report.costs or report.costs[0].prefill_flops_per_token is None:
        message = (
            f"There is nothing to draw for {report.model}: its cost at each k is unknown. "
            f"Run `moe-eval inspect {report.model}` to see why."
        )
        raise InvalidArgumentError(message)
    figure = figure_of(report)
    try:
        with replacing(path) as part:
            figure.savefig(part, format="png")
    except OSError as error:
        message = f"plot={path} cannot be written: {error.strerror}. Use another path."
        raise InvalidArgumentError(message) from error


def figure_of(report: ModelReport) -> Any:  # noqa: ANN401  (matplotlib is optional, here and below)
    """Return the figure; raises ``MissingDependencyError`` without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(NOT_INSTALLED) from error
    # A figure of its own, without pyplot, needs no display and leaves no global state.
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _draw_parameters(left, report)
    _draw_flops(middle, report)
    _draw_ceilings(right, report)
    shared = f" + {report.num_shared_experts} shared" if report.num_shared_experts else ""
    figure.suptitle(
        f"{Path(report.model).name}: {report.num_experts} routed experts, "
        f"published k = {report.baseline_num_experts_per_tok}{shared}"
    )
    return figure


def _drawn_costs(report: ModelReport) -> list[CostAtK]:
    """List the costs without k far above the published one, which would squeeze the rest."""
    most = 2 * report.baseline_num_experts_per_tok
    return [cost for cost in report.costs if cost.num_experts_per_tok <= most]


def _draw_parameters(axes: Any, report: ModelReport) -> None:  # noqa: ANN401
    costs = _drawn_costs(report)
    ks = [cost.num_experts_per_tok for cost in costs]
    active = [cost.active_parameters for cost in costs]
    unit, word = (GIGA, "billions") if max(active) >= GIGA else (MEGA, "millions")
    axes.plot(ks, [n / unit for n in active], "o-", color="C7")
    axes.set_ylabel(word)
    axes.set_ylim(bottom=0)
    axes.set_title("Active parameters")
    _draw_k_axis(axes, report, ks)


def _draw_flops(axes: Any, report: ModelReport) -> None:  # noqa: ANN401
    costs = _drawn_costs(report)
    ks = [cost.num_experts_per_tok for cost in costs]
    prefill = [cost.prefill_flops_per_token or 0 for cost in costs]
    decode = [cost.decode_flops_per_token or 0 for cost in costs]
    unit, letter = (GIGA, "G") if max(decode) >= GIGA else (MEGA, "M")
    axes.plot(ks, [n / unit for n in prefill], "o-", label="prefill, mean of the prompt")
    axes.plot(ks, [n / unit for n in decode], "^--", label="decode")
    axes.set_ylabel(f"{letter}FLOP")
    axes.set_ylim(0, 1.25 * max(decode) / unit)
    axes.legend(loc="upper left")
    axes.set_title(f"FLOPs per token, {report.context_length} tokens of context")
    _draw_k_axis(axes, report, ks)


def _draw_ceilings(axes: Any, report: ModelReport) -> None:  # noqa: ANN401
    costs = [cost for cost in report.costs if cost.prefill_speedup_ceiling is not None]
    ks = [cost.num_experts_per_tok for cost in costs]
    axes.plot(ks, [cost.prefill_speedup_ceiling for cost in costs], "o-", label="prefill")
    for i, step in enumerate(costs[0].decode_steps):
        ceilings = [cost.decode_steps[i].speedup_ceiling for cost in costs]
        axes.plot(ks, ceilings, "^--", label=f"decode, batch {step.batch_size}")
    axes.set_ylabel(f"times faster than k = {report.baseline_num_experts_per_tok}, at most")
    axes.set_title("Ceiling on the speed-up (not measured)")
    axes.set_ylim(bottom=1)
    axes.legend()
    _draw_k_axis(axes, report, ks)


def _draw_k_axis(axes: Any, report: ModelReport, ks: list[int]) -> None:  # noqa: ANN401
    axes.set_xlabel("k, routed experts per token")
    shown = [k for k in ks if k & (k - 1) == 0 or k == report.baseline_num_experts_per_tok]
    axes.set_xticks(shown, [str(k) for k in shown])
    axes.axvline(report.baseline_num_experts_per_tok, color="0.6", linewidth=1, zorder=0)
    axes.grid(visible=True, alpha=0.3)
