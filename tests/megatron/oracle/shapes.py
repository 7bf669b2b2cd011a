"""Sizes of the models that Megatron builds for the tests, and how a command line spells them."""

from __future__ import annotations

import typing
from dataclasses import asdict, dataclass, fields, replace

SEPARATOR, FIELD_SEPARATOR, ASSIGNMENT = ":", ",", "="


@dataclass(frozen=True)
class Shape:
    """A model of FLAME-MoE's architecture; without ``experts``, one of its dense baselines."""

    layers: int = 3
    hidden: int = 64
    heads: int = 4
    groups: int = 0
    """Key and value heads; 0: as many as heads."""
    ffn: int = 96
    moe_ffn: int = 24
    experts: int = 8
    topk: int = 6
    """Routed experts per token; the two shared ones come on top."""
    vocab: int = 256
    dtype: str = "float32"
    sequence: int = 24
    """Tokens in each of the two texts whose logits are stored."""
    all_k: str = "1-2-3-4-5-6"
    """At which k logits are stored."""
    seed: int = 0
    """Of the weights and the token ids, at most 2**32 - 1."""
    transformer_engine_names: bool = True
    """Whether the norm before the experts has the key that Transformer Engine's layers have."""
    processes: int = 1
    """Processes that share the experts (expert parallelism)."""
    optimizer: str = ""
    """How the distributed optimizer's state is stored, after one step of training; empty: none."""

    @property
    def k_values(self) -> tuple[int, ...]:
        """Each k at which logits are stored, ascending; none for a dense model."""
        return tuple(map(int, self.all_k.split("-"))) if self.experts else ()


# FLAME-MoE-38M-100M: the smallest model of the suite, with the vocabulary that its training padded.
PUBLISHED_38M = Shape(
    layers=9, hidden=256, heads=16, ffn=1368, moe_ffn=176, experts=64, vocab=50304
)
PRESETS = {"small": Shape(), "38m": PUBLISHED_38M}


def parse_run(text: str) -> tuple[str, Shape]:
    """Return name and shape of ``NAME[:PRESET][,FIELD=VALUE]...``: ``gqa:small,groups=2``."""
    name, _, rest = text.partition(SEPARATOR)
    preset, *settings = rest.split(FIELD_SEPARATOR) if rest else ["small"]
    types = typing.get_type_hints(Shape)
    values = {}
    for setting in settings:
        field, _, value = setting.partition(ASSIGNMENT)
        kind = types[field]
        values[field] = value == "True" if kind is bool else kind(value)
    return name, replace(PRESETS[preset], **values)


def write_run(name: str, shape: Shape) -> str:
    """Return what ``parse_run`` reads."""
    settings = [f"{field.name}{ASSIGNMENT}{asdict(shape)[field.name]}" for field in fields(shape)]
    return name + SEPARATOR + FIELD_SEPARATOR.join(["small", *settings])
