"""What a model is, before it is run: its experts, its k, and its parameters at each k."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from moe_eval_plugin.checkpoint import load_config, resolve
from moe_eval_plugin.cost import MoELayer, ParameterCounts, count_parameters
from moe_eval_plugin.errors import UserError
from moe_eval_plugin.families import MoEDescription, describe
from moe_eval_plugin.preflight import gib
from moe_eval_plugin.weights import weight_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PretrainedConfig

SCHEMA_VERSION = 1
BILLION = 1_000_000_000
MILLION = 1_000_000
EFFECTS = {
    "always": (
        "the weights of the chosen experts are divided by their sum, so they add up to 1 at every k"
    ),
    "never": (
        "the weights of the chosen experts are not divided by their sum, so with a lower k the "
        "norm of the routed output falls too"
    ),
    "unknown": "the configuration does not say what a lower k does to the norm of the output",
}


@dataclass(frozen=True)
class ActiveParameters:
    """Parameters that serve a token at k routed experts per MoE layer."""

    num_experts_per_tok: int
    parameters: int


@dataclass(frozen=True)
class ModelReport:
    """What ``moe-eval inspect`` says of a model; ``None`` stands for "not known".

    ``baseline_num_experts_per_tok`` counts routed experts of the published model, and
    ``total_num_experts_per_tok`` adds the shared ones. ``n_layers`` counts the layers of the
    language model and ``n_moe_layers`` those with routed experts. ``layers`` names each module
    that holds routed experts. ``weights_bytes`` is the size of the weight files.
    """

    schema_version: int
    model: str
    resolved: str
    model_type: str
    is_moe: bool
    n_layers: int | None
    n_moe_layers: int | None
    num_experts: int
    num_shared_experts: int
    num_zero_experts: int
    baseline_num_experts_per_tok: int
    total_num_experts_per_tok: int
    renormalisation: Literal["always", "never", "unknown"]
    fixed_k_reason: str | None
    total_parameters: int | None
    routed_parameters: int | None
    active_parameters: tuple[ActiveParameters, ...]
    parameters_unknown_reason: str | None
    dtype: str | None
    weights_bytes: int | None
    layers: tuple[MoELayer, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give the report as plain data, ready for JSON."""
        return asdict(self)


def inspect_model(
    pretrained: str, revision: str | None = None, *, trust_remote_code: bool = False
) -> ModelReport:
    """Describe a model from its configuration and the list of its files; no weight is loaded.

    Raises ``ModelNotFoundError`` and ``UserError`` as ``checkpoint.load_config`` does. Parameters
    that cannot be counted are ``None``, with the reason beside them.
    """
    config = load_config(pretrained, revision, trust_remote_code=trust_remote_code)
    description = describe(config)
    counts, reason = _counts(config, trust_remote_code=trust_remote_code)
    size = weight_size(pretrained, revision)
    renormalisation = {True: "always", False: "never", None: "unknown"}
    return ModelReport(
        schema_version=SCHEMA_VERSION,
        model=pretrained,
        resolved=resolve(pretrained),
        model_type=description.model_type,
        is_moe=description.is_moe,
        n_layers=getattr(config.get_text_config(), "num_hidden_layers", None),
        n_moe_layers=_n_moe_layers(counts.layers) if counts else None,
        num_experts=description.num_experts,
        num_shared_experts=description.num_shared_experts,
        num_zero_experts=description.num_zero_experts,
        baseline_num_experts_per_tok=description.num_experts_per_tok,
        total_num_experts_per_tok=description.num_experts_per_tok + description.num_shared_experts,
        renormalisation=renormalisation[description.norm_topk_prob],  # type: ignore[arg-type]
        fixed_k_reason=description.fixed_k_reason,
        total_parameters=counts.total if counts else None,
        routed_parameters=counts.routed if counts else None,
        active_parameters=_active_parameters(counts, description) if counts else (),
        parameters_unknown_reason=reason,
        dtype=str(config.dtype).removeprefix("torch.") if config.dtype else None,
        weights_bytes=size.total_bytes if size else None,
        layers=counts.layers if counts else (),
    )


def k_values(baseline: int, num_experts: int) -> list[int]:
    """List the k worth showing: 1 to the baseline, the powers of two, and all experts."""
    powers = {2**i for i in range(num_experts.bit_length())}
    return sorted({*range(1, baseline + 1), *powers, num_experts})


def render(report: ModelReport) -> str:
    """Write a report as text for a terminal."""
    lines = ["", *_align(_facts(report)), ""]
    if report.active_parameters:
        lines += _align(_active_table(report), right=True)
        lines += ["", "Active: all parameters but those of the routed experts that a token does"]
        lines += ["not choose; image tower, embeddings and shared experts are counted in.", ""]
    return "\n".join(lines).strip("\n")


def _counts(
    config: PretrainedConfig, *, trust_remote_code: bool
) -> tuple[ParameterCounts | None, str | None]:
    try:
        return count_parameters(config, trust_remote_code=trust_remote_code), None
    except UserError as error:
        return None, str(error)


def _n_moe_layers(layers: Sequence[MoELayer]) -> int:
    """Count the decoder layers: a layer may hold experts in more than one module."""
    return len({_decoder_layer(layer.path) for layer in layers})


def _decoder_layer(path: str) -> str:
    parts = path.split(".")
    number = next((i for i, part in enumerate(parts) if part.isdigit()), len(parts))
    return ".".join(parts[: number + 1])


def _active_parameters(
    counts: ParameterCounts, description: MoEDescription
) -> tuple[ActiveParameters, ...]:
    baseline = description.num_experts_per_tok
    if not counts.layers or baseline == 0:
        return ()
    ks = k_values(baseline, description.num_experts)
    if description.fixed_k_reason is not None:
        ks = [baseline]
    return tuple(ActiveParameters(k, counts.active(k)) for k in ks)


def _facts(report: ModelReport) -> list[tuple[str, ...]]:
    rows = [("model", report.model)]
    if report.resolved != report.model:
        rows.append(("found in", report.resolved))
    rows.append(("model_type", report.model_type))
    if not report.is_moe:
        rows.append(("experts", "none: this is a dense model, so it has no k to change"))
    else:
        rows += _expert_facts(report)
    return [*rows, *_size_facts(report)]


def _expert_facts(report: ModelReport) -> list[tuple[str, str]]:
    rows = [("MoE layers", _layer_text(report)), ("k can be changed", _changeable(report))]
    if report.baseline_num_experts_per_tok == 0:
        return rows
    shared, zero = report.num_shared_experts, report.num_zero_experts
    rows[1:1] = [
        ("routed experts", f"{report.num_experts} per MoE layer"),
        ("shared experts", f"{shared} per MoE layer, used by every token" if shared else "none"),
        *([("zero experts", f"{zero} more to choose from, which compute nothing")] * bool(zero)),
        ("k per token", _k_text(report)),
        ("renormalisation", f"{report.renormalisation}: {EFFECTS[report.renormalisation]}"),
    ]
    return rows


def _k_text(report: ModelReport) -> str:
    routed, shared = report.baseline_num_experts_per_tok, report.num_shared_experts
    return f"{routed} routed + {shared} shared = {report.total_num_experts_per_tok}"


def _layer_text(report: ModelReport) -> str:
    if report.n_moe_layers is None:
        return "not known"
    if not report.layers:
        return "not found among the modules of the model"
    paths = [layer.path for layer in report.layers]
    shown = ", ".join([*paths[:1], "...", *paths[-1:]] if len(paths) > 2 else paths)  # noqa: PLR2004
    return f"{report.n_moe_layers} of {report.n_layers or 'an unknown number'} ({shown})"


def _changeable(report: ModelReport) -> str:
    if report.fixed_k_reason is not None:
        return f"no: {report.fixed_k_reason}"
    return f"yes: experts_k=1 to experts_k={report.num_experts} (routed experts)"


def _size_facts(report: ModelReport) -> list[tuple[str, str]]:
    total, routed = report.total_parameters, report.routed_parameters
    if total is None:
        parameters = f"not known: {report.parameters_unknown_reason}"
    else:
        parameters = count_text(total)
        if routed:
            parameters += f", of which {count_text(routed)} in routed experts"
    weights = "size not known" if report.weights_bytes is None else _bytes(report.weights_bytes)
    stored = f" ({report.dtype})" if report.dtype else ""
    return [("parameters", parameters), ("weight files", weights + stored)]


def _active_table(report: ModelReport) -> list[tuple[str, ...]]:
    total = report.total_parameters or 0
    rows: list[tuple[str, ...]] = [("k routed", "k total", "active parameters", "of total", "")]
    for active in report.active_parameters:
        k = active.num_experts_per_tok
        rows.append(
            (
                str(k),
                str(k + report.num_shared_experts),
                count_text(active.parameters),
                f"{active.parameters / total:.1%}",
                "baseline" if k == report.baseline_num_experts_per_tok else "",
            )
        )
    return rows


def count_text(n: int) -> str:
    """Write a number of parameters: in full below a million, else in millions or billions."""
    if n >= BILLION:
        return f"{n / BILLION:.2f} B"
    return f"{n / MILLION:.2f} M" if n >= MILLION else f"{n:,}"


def _bytes(n: int) -> str:
    mib = f"{n / 1024**2:.1f} MiB"
    return mib if n < 1024**3 else gib(n)


def _align(rows: Sequence[Sequence[str]], *, right: bool = False) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
