"""Render what a setting asks of a model for a terminal: k by layer with bars, price, origin."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.experts.schedules.tuning_record import TuningRecord
from moe_eval_plugin.json_object import JsonObject
from moe_eval_plugin.text import align, counted, labelled, wrap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.publish.deployment.overview import Overview, TokenPrice

BAR_WIDTH = 16
FULL, PART = "█", " ▏▎▍▌▋▊▉"
UNITS = {"experts": "routed experts", "flops": "FLOPs", "time": "time"}
KINDS = {
    "k": "all tokens",
    "text": "text tokens",
    "image": "image tokens",
    "prefill": "tokens of a prompt",
    "decode": "new tokens",
}


def render(found: Overview) -> str:
    """Return an overview as text: facts, a table of k by layer, and how the setting was found."""
    blocks = [labelled(_facts(found))]
    if found.tokens:
        blocks += [_layer_table(found), [*labelled(_prices(found)), *_context(found)]]
    record = _record(found.tuning)
    if record is not None:
        blocks.append(labelled(_origin(record)))
    return "\n\n".join("\n".join(block) for block in blocks)


def _facts(found: Overview) -> Iterator[tuple[str, str]]:
    if found.experts_k is not None:
        yield "schedule", found.experts_k
    if found.experts_policy is not None:
        yield "policy", f"{found.experts_policy} (it chooses k token by token)"
    if found.model is not None:
        yield (
            "model",
            (
                f"{found.model}: {found.model_type}, {found.num_experts} experts per layer, "
                f"{found.published_k} used as published"
            ),
        )
    elif found.model_unknown_reason is not None:
        yield "model", f"not known here: {found.model_unknown_reason}"
    else:
        yield "model", "not given: --model MODEL adds the layers and the price"
    for warning in found.warnings:
        yield "warning", warning


def _layer_table(found: Overview) -> list[str]:
    """Return k by layer; consecutive layers that do not differ share a line."""
    tokens, largest = found.tokens, max(found.published_k or 1, _largest(found))
    layers = list(tokens[0].k_by_layer)
    runs = groupby(layers, key=lambda layer: [token.k_by_layer[layer] for token in tokens])
    rows = [["layers", *(cell for token in tokens for cell in (token.name, ""))]]
    for ks, run in runs:
        numbers = list(run)
        name = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
        rows.append([name, *(cell for k in ks for cell in (str(k), _bar(k, largest)))])
    return align(rows, "r" + "rl" * len(tokens))


def _largest(found: Overview) -> int:
    return max(k for token in found.tokens for k in token.k_by_layer.values())


def _bar(k: int, largest: int) -> str:
    whole, eighths = divmod(round(8 * BAR_WIDTH * k / largest), 8)
    return (FULL * whole + PART[eighths]).rstrip() or PART[1]


def _prices(found: Overview) -> Iterator[tuple[str, str]]:
    for token in found.tokens:
        label = "mean k" if token.name == "k" else f"mean k, {token.name}"
        yield label, f"{token.mean_k:.3g} of {found.published_k}, {_price(token)}"


def _price(token: TokenPrice) -> str:
    shares = {
        "of the routed experts": token.experts_share,
        "of the FLOPs of a prompt": token.prefill_flops_share,
        "of those of a new token": token.decode_flops_share,
    }
    known = [f"{share:.1%} {of}" for of, share in shares.items() if share is not None]
    return f"which is {', '.join(known)}"


def _context(found: Overview) -> list[str]:
    if all(token.prefill_flops_share is None for token in found.tokens):
        return []
    n = found.context_length
    return wrap(f"FLOPs: of the language model, at a prompt of {n} tokens; computed, not timed.")


def _record(tuning: dict[str, Any] | None) -> TuningRecord | None:
    return None if tuning is None else TuningRecord.from_dict(JsonObject(tuning, path="tuning"))


def _origin(record: TuningRecord) -> Iterator[tuple[str, str]]:
    when = f" on {record.date.partition('T')[0]}" if record.date else ""
    by = f", by {record.by}" if record.by != "layer" else ""
    model = record.model + (f" ({record.revision})" if record.revision else "")
    yield "name", record.name
    yield "found by", f"{record.method}{when}, for {model}{by}"
    unit = UNITS[record.unit]
    yield "price", f"{record.price:.1%} of the {unit}; at most {record.target:.1%} was allowed"
    if record.measured_loss is not None or record.predicted_loss is not None:
        yield "loss", _loss_text(record)
    if record.uniform_k is not None:
        loss = "" if record.uniform_loss is None else f": {record.uniform_loss:.4g}"
        yield "uniform k", f"k={record.uniform_k} everywhere costs no more{loss}"
    yield "calibrated on", _questions_text(record)
    if record.n_tried:
        yield "tried", f"{counted(record.n_tried, 'setting')}, over all targets"


def _loss_text(record: TuningRecord) -> str:
    parts = {"measured": record.measured_loss, "predicted": record.predicted_loss}
    known = ", ".join(f"{value:.4g} {name}" for name, value in parts.items() if value is not None)
    return f"{known} (nats per answer token from the published model)"


def _questions_text(record: TuningRecord) -> str:
    if record.data_free:
        return "random tokens, no questions"
    texts = [
        f"{counted(len(one.doc_ids), 'question')} of {one.task} ({one.host}), split {one.split}"
        + (", which the task asks: these must not be scored" if one.is_evaluated else "")
        for one in record.questions
    ]
    return "; ".join(texts) or "nothing that was stored"
