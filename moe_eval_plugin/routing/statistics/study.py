"""Compute all statistics of a routing trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.prompts.progress import NoProgress
from moe_eval_plugin.routing.matching import match
from moe_eval_plugin.routing.statistics.coactivation import coactivation
from moe_eval_plugin.routing.statistics.groups import ALL, groups_of, question_codes
from moe_eval_plugin.routing.statistics.load import load_of
from moe_eval_plugin.routing.statistics.means import spread_of, table_of
from moe_eval_plugin.routing.statistics.options import StudyOptions
from moe_eval_plugin.routing.statistics.saturation import overlap_of
from moe_eval_plugin.routing.statistics.scores import margins_of, token_mass
from moe_eval_plugin.routing.statistics.summary import LayerMeans, summary
from moe_eval_plugin.routing.statistics.tables import GroupRouting, LayerStudy, RoutingStudy
from moe_eval_plugin.routing.statistics.task_specialisation import task_specialisation
from moe_eval_plugin.routing.statistics.token_specialisation import token_specialisation

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from moe_eval_plugin.prompts.progress import Progress
    from moe_eval_plugin.routing.matching import Match
    from moe_eval_plugin.routing.statistics.saturation import Overlap
    from moe_eval_plugin.routing.statistics.scores import TokenMass
    from moe_eval_plugin.routing.trace import LayerTrace, RoutingTrace


def study(
    trace: RoutingTrace,
    against: RoutingTrace | None = None,
    options: StudyOptions | None = None,
    progress: Progress | None = None,
) -> RoutingStudy:
    """Return the statistics of a trace, and its saturation against another one.

    ``against`` is a trace of the same tokens by another checkpoint; ``progress`` counts the layers.
    Raises ``DataError`` where ``against`` has other tokens, layers or numbers of experts.

    ::

        found = study(read_trace(Path("routing/demo")))
        print(found.layers[0].groups[0].mass)
    """
    work = _Study(trace, against, options or StudyOptions())
    progress = progress or NoProgress()
    progress.counting("studying the routing", len(trace.layers), "layers")
    layers = []
    for layer in trace.layers:
        layers.append(work.layer(layer))
        progress.advance()
    return RoutingStudy(
        model=trace.model,
        revision=trace.revision,
        weights=trace.weights,
        against=None if against is None else _name(against),
        tasks=trace.tasks,
        n_tokens=trace.n_tokens,
        n_questions=int(work.questions.max(initial=-1)) + 1,
        summary=summary(work.means, layers, work.groups, work.questions, work.options),
        layers=tuple(layers),
        notes=tuple(dict.fromkeys((*trace.notes, *(against.notes if against else ())))),
    )


class _Study:
    """What the layers of one study share."""

    def __init__(
        self, trace: RoutingTrace, against: RoutingTrace | None, options: StudyOptions
    ) -> None:
        self.options = options
        self.groups = groups_of(trace)
        self.questions = question_codes(trace.tokens)
        self.means = LayerMeans(trace.n_tokens)
        self._trace = trace
        self._match: Match | None = None if against is None else match(trace, against)

    def layer(self, layer: LayerTrace) -> LayerStudy:
        """Return the statistics of one layer, and add it to the means over layers."""
        rows = self._trace.rows_of(layer)
        tokens, questions = self._trace.tokens_of(layer), self.questions[rows]
        mass, overlap = token_mass(layer), self._overlap(layer, rows)
        self.means.add(rows, mass, overlap)
        return LayerStudy(
            path=layer.path,
            num_experts=layer.num_experts,
            num_zero_experts=layer.num_zero_experts,
            published_k=layer.published_k,
            n_tokens=layer.n_tokens,
            groups=tuple(self._group_rows(layer, rows, mass, overlap)),
            coactivation=coactivation(layer, self.options),
            by_token=token_specialisation(layer, tokens, questions, self.options),
            by_task=task_specialisation(
                layer, tokens, questions, len(self._trace.tasks), self.options
            ),
        )

    def _overlap(self, layer: LayerTrace, rows: NDArray[np.int64]) -> Overlap | None:
        if self._match is None or layer.path not in self._match.layers:
            return None
        other = self._match.layers[layer.path]
        return overlap_of(layer, other, self._match.rows_of(rows, other))

    def _group_rows(
        self,
        layer: LayerTrace,
        rows: NDArray[np.int64],
        mass: TokenMass | None,
        overlap: Overlap | None,
    ) -> Iterator[GroupRouting]:
        questions = self.questions[rows]
        for part in self.groups:
            mask = part.mask[rows]
            if not mask.any():
                continue
            # Intervals of the other groups are in the summary alone.
            options = self.options if part.group == ALL else None
            yield GroupRouting(
                group=part.group,
                n_tokens=int(mask.sum()),
                load=load_of(layer, mask),
                entropy=None if layer.entropy is None else spread_of(layer.entropy[mask]),
                margins=margins_of(layer, mask),
                mass=table_of(mass, mask, questions, options),
                saturation=table_of(overlap, mask, questions, options),
            )


def _name(trace: RoutingTrace) -> str:
    return trace.model if trace.revision is None else f"{trace.model} at {trace.revision}"
