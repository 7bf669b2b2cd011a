"""What can be known of a model before it runs: its experts, and the cost at each k."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.api.table import Table, Value, make_table
from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.models.costs.cost_at_k import Scenario
from moe_eval_plugin.models.inspection.text import count_text, flops_text, render

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from torch import nn

    from moe_eval_plugin.models.costs.cost_at_k import CostAtK
    from moe_eval_plugin.models.inspection.report import ModelReport


def inspect(
    model: str | nn.Module,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
    context: int = 1024,
    batch_sizes: Sequence[int] = (1, 8, 64),
    dtype: str | None = None,
) -> Inspection:
    """Return the experts of a model, and its parameters, FLOPs and largest speed-up at each k.

    ``model`` is a folder, an id of the Hub, ``"demo"``, or a loaded transformers model. The other
    arguments are the options of ``moe-eval inspect``. Only the configuration is read::

        >>> import moe_eval_plugin as moe
        >>> found = moe.inspect("demo")
        >>> found.report.num_experts, found.report.baseline_num_experts_per_tok
        (32, 8)
        >>> [row["k"] for row in found.table][:3]
        [1, 2, 3]

    Raises ``ModelNotFoundError`` if there is no such model, and ``InvalidArgumentError`` for
    anything but a model.
    """
    from moe_eval_plugin.models.inspection.report import inspect_config, inspect_model

    scenario = Scenario(context, tuple(batch_sizes), dtype)
    if isinstance(model, str):
        report = inspect_model(
            model, revision, trust_remote_code=trust_remote_code, scenario=scenario
        )
        return Inspection(report)
    config = getattr(model, "config", None)
    if not hasattr(config, "get_text_config"):
        message = (
            f"inspect needs a model, and {type(model).__name__} is none. Pass a folder, an id of "
            'the Hub, "demo", or a loaded transformers model.'
        )
        raise InvalidArgumentError(message)
    return Inspection(inspect_config(config, scenario))


class Inspection:
    """The experts of a model according to its configuration, and the cost of a token at each k."""

    def __init__(self, report: ModelReport) -> None:
        self.report = report
        """All fields, as in ``moe-eval inspect --json``."""

    @property
    def table(self) -> Table:
        """Parameters, FLOPs and largest possible speed-ups for a token, with a row for each k."""
        costs = self.report.costs
        sizes = [step.batch_size for step in costs[0].decode_steps] if costs else []
        heads = [
            ("k", "k"),
            ("active_parameters", "Active parameters"),
            ("active_share", "Of all"),
            ("prefill_flops_per_token", "FLOPs, prefill"),
            ("decode_flops_per_token", "FLOPs, decode"),
            ("prefill_speedup_ceiling", "Prefill at most"),
            *(
                (f"decode_speedup_ceiling_{size}", f"Decode at most, batch {size}")
                for size in sizes
            ),
        ]
        return make_table(heads, [list(self._cells(cost)) for cost in costs])

    def to_pandas(self) -> pd.DataFrame:
        """Return the table as a data frame; raises ``MissingDependencyError`` without pandas."""
        return self.table.to_pandas()

    def __repr__(self) -> str:
        return render(self.report)

    def _repr_html_(self) -> str:
        """Return the facts and the table as a notebook shows them."""
        facts = render(self.report).partition("\n\n")[0]
        return f"<pre>{escape(facts)}</pre>{self.table._repr_html_()}"

    def _cells(self, cost: CostAtK) -> Iterator[tuple[Value, str]]:
        k, total = cost.num_experts_per_tok, self.report.total_parameters
        published = k == self.report.baseline_num_experts_per_tok
        yield k, f"{k} (published)" if published else str(k)
        yield cost.active_parameters, count_text(cost.active_parameters)
        share = cost.active_parameters / total if total else None
        yield share, _text(share, ".1%")
        for flops in (cost.prefill_flops_per_token, cost.decode_flops_per_token):
            yield flops, flops_text(flops)
        yield cost.prefill_speedup_ceiling, _text(cost.prefill_speedup_ceiling, ".2f", "×")
        for step in cost.decode_steps:
            yield step.speedup_ceiling, _text(step.speedup_ceiling, ".2f", "×")


def _text(value: Any, form: str, unit: str = "") -> str:  # noqa: ANN401  (a number or None)
    return "-" if value is None else f"{value:{form}}{unit}"
