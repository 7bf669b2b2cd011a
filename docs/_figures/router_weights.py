"""A figure on the weights of the experts that are left at a smaller k."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from svg import Box, Drawing

if TYPE_CHECKING:
    from moe_eval_plugin.experts.schedules.routing_rule import Renorm

PUBLISHED, SMALLER = 8, 4
TOKENS = ((2, 3, 5, 7, 11, 13, 17, 19),)
# The token of the prompt that is drawn: its weights are neither even nor all those of one expert.
TOKEN = 6
LEFT, WIDTH = 132, 250


def router_weights() -> str:
    """Draw the weights of one token's experts at both k, with and without a division by the sum."""
    drawing = Drawing(
        480,
        352,
        "Stacked bars of the weights of one token's experts. Without a division by their sum, the "
        "four that are left at k=4 keep their weights with native, add up to the sum at k=8 with "
        "keep-mass, and to 1 with unit. With a division, they add up to 1 at both k.",
    )
    drawing.write(14, 28, "router without division by the sum", style="strong")
    rows: list[tuple[str, int, Renorm]] = [
        ("k=8, native", PUBLISHED, "native"),
        ("k=4, native", SMALLER, "native"),
        ("k=4, keep-mass", SMALLER, "keep-mass"),
        ("k=4, unit", SMALLER, "unit"),
    ]
    for row, (label, k, renorm) in enumerate(rows):
        _bar(drawing, 44 + 38 * row, label, _weights(k, renorm, divides=False))
    drawing.write(14, 226, "router with division by the sum", style="strong")
    for row, (label, k, renorm) in enumerate(rows[:2]):
        _bar(drawing, 242 + 38 * row, label, _weights(k, renorm, divides=True))
    drawing.write(LEFT, 340, "each segment: the weight of one expert", style="soft")
    return drawing.text()


def _bar(drawing: Drawing, y: float, label: str, weights: list[float]) -> None:
    drawing.write(14, y + 19, label)
    left = float(LEFT)
    for number, weight in enumerate(weights):
        fill = "blue" if number < SMALLER else "line"
        drawing.box(Box(left, y, round(WIDTH * weight, 1), 28), fill=fill, edge="paper")
        left = round(left + WIDTH * weight, 1)
    drawing.write(LEFT + WIDTH + 14, y + 19, f"sum {sum(weights):.2f}", style="soft")


def _weights(k: int, renorm: Renorm, *, divides: bool) -> list[float]:
    """Return the weights that the experts of a tiny model's first layer are called with."""
    import torch

    from moe_eval_plugin.experts.schedules.parser import parse_experts_k
    from moe_eval_plugin.experts.schedules.routing_rule import RoutingRule
    from moe_eval_plugin.models.families import describe
    from moe_eval_plugin.override.apply import apply
    from moe_eval_plugin.testing import tiny_moe

    model = tiny_moe(
        "qwen3_moe", num_experts=16, num_experts_per_tok=PUBLISHED, norm_topk_prob=divides
    )
    schedule = parse_experts_k(k)
    if schedule is None:
        message = f"{k} is no k"
        raise ValueError(message)
    seen: list[Any] = []
    request = schedule.resolve(describe(model.config), range(model.config.num_hidden_layers))
    with apply(model, request, RoutingRule(renorm=renorm)), torch.no_grad():
        experts = model.get_submodule("model.layers.0.mlp.experts")
        experts.register_forward_pre_hook(lambda _module, args: seen.append(args[2]))
        model(input_ids=torch.tensor(TOKENS))
    return sorted(seen[0][TOKEN].float().tolist(), reverse=True)


FIGURES = {"router-weights": router_weights}
