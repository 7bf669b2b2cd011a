"""Render the report on a model as text for a terminal, as wide as the terminal."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.text import GIB, MIB, fit, gib_text, labelled, wrap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from moe_eval_plugin.models.architecture import DecoderLayer
    from moe_eval_plugin.models.costs.cost_at_k import CostAtK, DecodeStep
    from moe_eval_plugin.models.inspection.report import ModelReport

# The longest label, "routed FLOP share", and a gap.
LABEL_WIDTH = 19
NOT_KNOWN = "not known"
UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"))
FLOP_UNITS = ((1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"), (1e3, "kFLOP"), (1.0, "FLOP"))
EFFECTS = {
    "always": (
        "the weights of the chosen experts are divided by their sum, so they add up to 1 at every k"
    ),
    "never": (
        "the weights of the chosen experts are not divided by their sum, so with a lower k the "
        "norm of the routed output falls too"
    ),
    "unknown": "the configuration does not show what a lower k does to the norm of the output",
}
ACTIVE_NOTE = (
    "Active: all parameters but those of the routed experts that a token does not choose; image "
    "tower, embeddings and shared experts count. FLOPs: the language model alone, for one "
    "token of a prompt of {n} tokens on average, and for one new token at position {n}."
)
CEILING_NOTE = (
    "At most: prefill limited by arithmetic alone, a decode step (batch 1, 8, ...) by reading the "
    "weights and a cache of {n} tokens alone. Kernel launches, image encoding and the host lower "
    "every figure, and a large batch reads nearly all experts at any k: measure. Bytes: from all "
    "tokens choosing the same experts to none sharing one."
)


def render(report: ModelReport, *, after_experts: bool = False) -> str:
    """Return a report as text for a terminal; ``after_experts`` leaves out ``render_experts``."""
    rest = _aligned(_built_facts(report))
    experts = [] if after_experts else [render_experts(vars(report))]
    tables = [_layers_block(report), _costs_block(report), _ceilings_block(report)]
    gain = gain_text(report)
    first = [*wrap(f"{gain}.", rest="  "), ""] if gain else []
    facts = "\n".join([*first, *experts, *rest])
    return "\n\n".join([facts, *("\n".join(table) for table in tables if table)])


def gain_text(report: ModelReport) -> str | None:
    """Return how much faster half the published k can be at most; ``None`` where it is unknown."""
    half = max(report.baseline_num_experts_per_tok // 2, report.min_num_experts_per_tok)
    cost = next((one for one in report.costs if one.num_experts_per_tok == half), None)
    if cost is None or half >= report.baseline_num_experts_per_tok:
        return None
    decode = [
        f"{_factor(step.speedup_ceiling)} at batch size {step.batch_size}"
        for step in cost.decode_steps
        if step.speedup_ceiling is not None
    ]
    if cost.prefill_speedup_ceiling is None or not decode:
        return None
    return (
        f"k={half} instead of {report.baseline_num_experts_per_tok}: at most "
        f"{_factor(cost.prefill_speedup_ceiling)} as fast in prefill; in decode {', '.join(decode)}"
    )


def render_experts(facts: Mapping[str, Any]) -> str:
    """Return what the configuration alone says of a model; ``facts`` are fields of its report."""
    return "\n".join(_aligned(_stated_facts(facts)))


def count_text(n: int) -> str:
    """Return a parameter count as text: in full below a million, else in M, B or T."""
    for unit, name in UNITS:
        if n >= unit:
            return f"{n / unit:.2f} {name}"
    return f"{n:,}"


def flops_text(n: int | None) -> str:
    """Return a number of FLOPs as text, with a unit that fits its size."""
    if n is None:
        return NOT_KNOWN
    unit, name = next(found for found in FLOP_UNITS if n >= found[0] or found[0] == 1.0)
    return f"{n / unit:.2f} {name}"


def bytes_text(n: int | None) -> str:
    """Return a number of bytes as text, in KiB, MiB or GiB."""
    if n is None:
        return NOT_KNOWN
    if n >= GIB:
        return gib_text(n)
    return f"{n / MIB:.1f} MiB" if n >= MIB else f"{n / 1024:.1f} KiB"


def _aligned(rows: Iterable[tuple[str, str]]) -> list[str]:
    return labelled(rows, LABEL_WIDTH)


def _stated_facts(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "model", facts["model"]
    if facts["resolved"] != facts["model"]:
        yield "found in", facts["resolved"]
    yield "model_type", facts["model_type"]
    if not facts["is_moe"]:
        yield "experts", "none: this is a dense model, so it has no k to change"
        return
    routed, shared = facts["baseline_num_experts_per_tok"], facts["num_shared_experts"]
    if routed:
        yield "routed experts", f"{facts['num_experts']} per MoE layer"
        yield "shared experts", f"{shared} per MoE layer, used by every token" if shared else "none"
        if facts["num_zero_experts"]:
            yield "zero-computation", _zero_computation_text(facts)
        yield "k per token", f"{routed} routed + {shared} shared = {routed + shared}"
        rule = facts["renormalisation"]
        yield "renormalisation", f"{rule}: {EFFECTS[rule]}"
    yield "k can be changed", _changeable(facts)
    for warning in facts["warnings"]:
        yield "warning", warning


def _zero_computation_text(facts: Mapping[str, Any]) -> str:
    n, k = facts["num_zero_experts"], facts["baseline_num_experts_per_tok"]
    kinds = ", ".join(f"{count} {kind}" for kind, count in facts["zero_expert_kinds"].items())
    return (
        f"{n} more to choose from, which compute no FFN{f' ({kinds})' * bool(kinds)}; k counts "
        f"them, so at k={k} the FFN k of a token is {max(k - n, 0)} to {k}: results have it"
    )


def _built_facts(report: ModelReport) -> Iterator[tuple[str, str]]:
    if report.is_moe:
        yield "MoE layers", _layer_text(report)
    yield from _size_facts(report)
    yield from _flop_facts(report)


def _layer_text(report: ModelReport) -> str:
    if report.n_moe_layers is None:
        return NOT_KNOWN
    paths = [module.path for module in report.expert_modules]
    if not paths:
        return "not found among the modules of the model"
    shown = ", ".join([paths[0], "...", paths[-1]] if len(paths) > 2 else paths)  # noqa: PLR2004
    return f"{report.n_moe_layers} of {report.n_layers or 'an unknown number'} ({shown})"


def _changeable(facts: Mapping[str, Any]) -> str:
    if facts["fixed_k_reason"] is not None:
        return f"no: {facts['fixed_k_reason']}"
    least, most = facts["min_num_experts_per_tok"], facts["max_num_experts_per_tok"]
    return f"yes: experts_k={least} to experts_k={most} (routed experts)"


def _size_facts(report: ModelReport) -> Iterator[tuple[str, str]]:
    total, routed = report.total_parameters, report.routed_parameters
    if total is None:
        yield "parameters", f"{NOT_KNOWN}: {report.parameters_unknown_reason}"
    else:
        in_experts = f", of which {count_text(routed)} in routed experts" if routed else ""
        yield "parameters", count_text(total) + in_experts
    stored = ", ".join(part for part in (report.dtype, report.quantisation) if part)
    files = "size not known" if report.weights_bytes is None else bytes_text(report.weights_bytes)
    yield "weight files", f"{files} ({stored})" if stored else files
    yield "memory", _memory_text(report)


def _memory_text(report: ModelReport) -> str:
    weights, cache = report.weights_memory_bytes, report.kv_cache_bytes_per_token
    if weights is None:
        return (
            f"{NOT_KNOWN}: set a data type with --dtype" if report.total_parameters else NOT_KNOWN
        )
    text = f"{bytes_text(weights)} of weights in {report.memory_dtype}"
    if report.quantisation:
        text += f" (as {report.quantisation} they are smaller)"
    if cache is None:
        return f"{text}; cache {NOT_KNOWN}"
    sequence = bytes_text(report.kv_cache_bytes_per_sequence)
    return (
        f"{text}, and {bytes_text(cache)} of cache per token, {sequence} for a sequence of "
        f"{report.context_length}"
    )


def _flop_facts(report: ModelReport) -> Iterator[tuple[str, str]]:
    if report.cost_unknown_reason is not None and report.parameters_unknown_reason is None:
        yield "FLOPs", f"{NOT_KNOWN}: {report.cost_unknown_reason}"
    if report.is_moe and report.routed_flop_share is not None:
        left_out = "; without the image tower" if report.image_flops_per_patch is not None else ""
        text = (
            f"{report.routed_flop_share:.1%} of a prompt of {report.context_length} tokens, "
            f"{report.decode_routed_flop_share:.1%} of one new token after it (rho, at the "
            f"published k{left_out})"
        )
        yield "routed FLOP share", text
    if report.image_flops_per_patch is not None:
        per_image = report.image_flops_per_image
        text = (
            f"about {flops_text(report.image_flops_per_patch)} per patch"
            f"{f', {flops_text(per_image)} per image' if per_image else ''} (2 per parameter; "
            "attention left out), whatever k is"
        )
        yield "image tower", text


def _layers_block(report: ModelReport) -> list[str]:
    if not report.layers:
        return []
    heads = ("layers", "", "attention", "router", "routed experts", "shared", "MLP, norms")
    rows = [heads, *(_layer_row(run) for run in _runs(report.layers))]
    return ["Parameters of each layer", *fit(rows, "r", ("router", "MLP, norms"))]


def _runs(layers: Sequence[DecoderLayer]) -> list[list[DecoderLayer]]:
    """Return runs of consecutive layers that do not differ."""
    alike = groupby(layers, key=lambda layer: replace(layer, number=0, path=""))
    return [list(run) for _, run in alike]


def _layer_row(run: Sequence[DecoderLayer]) -> tuple[str, ...]:
    first, last = run[0], run[-1]
    routed = f"{first.num_experts} x {count_text(first.parameters_per_expert)}"
    return (
        str(first.number) if first is last else f"{first.number}-{last.number}",
        "MoE" if first.is_moe else "dense",
        count_text(first.attention_parameters),
        count_text(first.router_parameters) if first.is_moe else "-",
        routed if first.is_moe else "-",
        count_text(first.shared_expert_parameters) if first.shared_expert_parameters else "-",
        count_text(first.other_parameters),
    )


def _costs_block(report: ModelReport) -> list[str]:
    if not report.costs:
        return []
    heads = ("k routed", "k total", "active", "of total", "prefill", "decode", "")
    rows = [heads, *(_cost_row(report, cost) for cost in report.costs)]
    note = ACTIVE_NOTE.format(n=report.context_length)
    return ["Parameters and FLOPs per token", *fit(rows, "r", ("of total",)), *wrap(note)]


def _cost_row(report: ModelReport, cost: CostAtK) -> tuple[str, ...]:
    k = cost.num_experts_per_tok
    return (
        str(k),
        str(k + report.num_shared_experts),
        count_text(cost.active_parameters),
        f"{cost.active_parameters / (report.total_parameters or 1):.1%}",
        flops_text(cost.prefill_flops_per_token),
        flops_text(cost.decode_flops_per_token),
        "published" if k == report.baseline_num_experts_per_tok else "",
    )


def _ceilings_block(report: ModelReport) -> list[str]:
    costs = [cost for cost in report.costs if cost.prefill_speedup_ceiling is not None]
    if not costs:
        return []
    batches = [f"batch {step.batch_size}" for step in costs[0].decode_steps]
    heads = ("k routed", "prefill", *batches, *(f"bytes, {batch}" for batch in batches))
    rows = [heads, *(_ceiling_row(cost) for cost in costs)]
    title = (
        f"Speed-up at most, against k={report.baseline_num_experts_per_tok}; bytes of a decode step"
    )
    note = CEILING_NOTE.format(n=report.context_length)
    spare = [f"bytes, {batch}" for batch in batches]
    return [*wrap(title), *fit(rows, "r", spare[::-1]), *wrap(note)]


def _ceiling_row(cost: CostAtK) -> tuple[str, ...]:
    return (
        str(cost.num_experts_per_tok),
        _factor(cost.prefill_speedup_ceiling),
        *(_factor(step.speedup_ceiling) for step in cost.decode_steps),
        *(_range_text(step) for step in cost.decode_steps),
    )


def _factor(ceiling: float | None) -> str:
    return "-" if ceiling is None else f"{ceiling:.2f}×"


def _range_text(step: DecodeStep) -> str:
    if step.least_bytes is None or step.most_bytes is None:
        return NOT_KNOWN
    unit, name = (GIB, "GiB") if step.most_bytes >= GIB else (MIB, "MiB")
    least, most = f"{step.least_bytes / unit:.1f}", f"{step.most_bytes / unit:.1f}"
    return f"{least} {name}" if least == most else f"{least}-{most} {name}"
