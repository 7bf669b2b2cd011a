"""The shortest schedule that sets given k by layer, and by modality or phase too."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeAlias

from moe_eval_plugin.experts.schedules.schedule import ExpertSchedule, ScheduleRule
from moe_eval_plugin.experts.tokens import CONTENT, Modality, Phase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Kind: TypeAlias = Modality | Phase | None


def schedule_of_table(
    table: Mapping[int, int] | Mapping[tuple[int, Modality], int] | Mapping[tuple[int, Phase], int],
    baseline: int,
) -> ExpertSchedule:
    """Return a schedule of few rules that sets the k in ``table``.

    ``table`` maps each decoder layer with experts to its k, or pairs of such a layer and a modality
    or a phase; both modalities or both phases of every layer are there. Consecutive layers with the
    same k share a rule. The rule without layers, which is the first one, has the k that saves most
    rules: ``baseline``, the published k, if several do. Raises ``ValueError`` for an incomplete or
    an empty table.
    """
    cells: dict[tuple[int, Kind], int] = {
        key if isinstance(key, tuple) else (key, None): k for key, k in table.items()
    }
    layers = sorted({layer for layer, _ in cells})
    kinds = list(dict.fromkeys(kind for _, kind in cells))
    if not cells or len(cells) != len(layers) * len(kinds):
        message = f"the table of k is empty or incomplete: {dict(table)}"
        raise ValueError(message)
    columns: dict[Kind, list[int]] = {k: [cells[layer, k] for layer in layers] for k in kinds}
    found = [ExpertSchedule(tuple(rules)) for rules in _candidates(columns, layers, baseline)]
    return min(found, key=lambda one: _length(one, baseline))


def _length(schedule: ExpertSchedule, baseline: int) -> tuple[int, bool]:
    return len(schedule.rules), schedule.rules[0].num_experts_per_tok != baseline


def _candidates(
    columns: Mapping[Kind, Sequence[int]], layers: Sequence[int], baseline: int
) -> list[list[ScheduleRule]]:
    """List the rules of several ways to write the same k."""
    if len({tuple(ks) for ks in columns.values()}) == 1:
        return _of_column(None, next(iter(columns.values())), layers, baseline)
    found = []
    for base in _bases([k for ks in columns.values() for k in ks], baseline):
        apart = [
            rule
            for kind, ks in columns.items()
            for rule in _runs(kind, ks, layers, [base] * len(ks))
        ]
        found.append([ScheduleRule(base), *apart])
    first, second = columns
    for whole, other in ((first, second), (second, first)):
        starts = _of_column(None, columns[whole], layers, baseline)
        ends = _of_column(other, columns[other], layers, baseline)
        ends.append(_runs(other, columns[other], layers, columns[whole]))
        found.append([*min(starts, key=len), *min(ends, key=len)])
    return found


def _of_column(
    kind: Kind, ks: Sequence[int], layers: Sequence[int], baseline: int
) -> list[list[ScheduleRule]]:
    """List the rules that set the k of one kind of token: one k, and the layers that differ."""
    return [
        [_rule(base, None, kind), *_runs(kind, ks, layers, [base] * len(ks))]
        for base in _bases(ks, baseline)
    ]


def _bases(ks: Sequence[int], baseline: int) -> list[int]:
    """List the k in use, the published one first."""
    return sorted(set(ks), key=lambda k: (k != baseline, -k))


def _runs(
    kind: Kind, ks: Sequence[int], layers: Sequence[int], known: Sequence[int]
) -> list[ScheduleRule]:
    """Return a rule for each run of layers with one k that is not the k that they have already."""
    rules = []
    for k, run in groupby(range(len(ks)), key=ks.__getitem__):
        changed = [place for place in run if known[place] != k]
        if changed:
            ends = (layers[changed[0]], layers[changed[-1]]) if len(set(ks)) > 1 else None
            rules.append(_rule(k, ends, kind))
    return rules


def _rule(k: int, layers: tuple[int, int] | None, kind: Kind) -> ScheduleRule:
    where: dict[str, Any] = {"modality" if kind in CONTENT else "phase": kind}
    return ScheduleRule(k, layers, **where)
