"""The first screen: what was found, in plain words, with its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.routing.page.findings import findings, load_fact, mass_at, unused_fact
from moe_eval_plugin.routing.page.parts import confidence_text, percent
from moe_eval_plugin.routing.page.sections.scores import mass_at_a_glance, mass_figure
from moe_eval_plugin.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.report.charts.base import Figure
    from moe_eval_plugin.routing.page.findings import Fact
    from moe_eval_plugin.routing.page.parts import PageTable
    from moe_eval_plugin.routing.statistics.tables import RoutingStudy

# Share of the mass that most people would call nearly all.
MOST_OF_IT = 0.9


@dataclass(frozen=True)
class FirstScreen:
    """What a reader sees first."""

    headline: str
    reason: str
    facts: tuple[Fact, ...]
    findings: tuple[str, ...]
    limits: tuple[str, ...]
    """What the numbers do not say."""
    figure: Figure | None
    table: PageTable | None


def first_screen(study: RoutingStudy) -> FirstScreen:
    """Return the first screen of a study."""
    headline, reason = _headline(study)
    return FirstScreen(
        headline=headline,
        reason=reason,
        facts=(load_fact(study), unused_fact(study)),
        findings=findings(study),
        limits=tuple(_limits(study)),
        figure=mass_figure(study),
        table=mass_at_a_glance(study),
    )


def head_facts(study: RoutingStudy) -> tuple[str, ...]:
    """Return the line below the title: tokens, tasks and layers."""
    layers = study.layers
    ks = sorted({one.published_k for one in layers})
    experts = sorted({one.num_experts + one.num_zero_experts for one in layers})
    return (
        f"{counted(study.n_tokens, 'token')} of {counted(study.n_questions, 'question')}",
        ", ".join(study.tasks),
        f"{counted(len(layers), 'MoE layer')} of {_range(experts)} experts",
        f"published k={_range(ks)}",
        *([f"compared with {study.against}"] if study.against else []),
    )


def _range(values: list[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _headline(study: RoutingStudy) -> tuple[str, str]:
    masses = study.summary[0].mass
    if not masses or len(masses) == 1:
        load = load_fact(study)
        reason = (
            "The routers of this model do not show their scores, so the weight that a smaller k "
            "retains is not known."
            if not masses
            else "At a published k of 1 no smaller k is possible."
        )
        return load.sentence, reason
    published = masses[-1].k
    one = mass_at(study, -(-published // 2))
    share = percent(one.retained.mean)
    headline = f"At k={one.k} the routers keep {share} of the weight of k={published}"
    enough = next(mass for mass in masses if mass.retained.mean >= MOST_OF_IT)
    parts = [
        *([f"{confidence_text(one.interval)}, by resampling questions."] if one.interval else []),
        (
            f"The smallest k that keeps {percent(MOST_OF_IT)} is {enough.k}, of the published "
            f"{published}; for a tenth of the tokens k={one.k} keeps less than "
            f"{percent(one.retained.p10)}."
        ),
    ]
    return headline, " ".join(parts)


def _limits(study: RoutingStudy) -> Iterator[str]:
    if study.summary[0].mass:
        yield (
            "Retained mass is no accuracy. It is computed on the states of the published model; "
            "at a smaller k the first layers change what later ones see. The command moe-eval "
            "sweep measures the accuracy at each k."
        )
    yield (
        "A choice says nothing of what an expert does with a token: a rarely used expert may "
        "matter, and a busy one may be replaceable."
    )
    yield (
        f"All numbers are of {', '.join(study.tasks)}. Other text may use other experts, those "
        "that no token chose here included."
    )
    yield from study.notes
