"""Put the page of a routing study together: sections, charts, provenance, and the HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moe_eval_plugin.report.page.fill import PACKAGE as REPORT_PACKAGE
from moe_eval_plugin.report.page.frame import PageFiles, filled
from moe_eval_plugin.routing.page.first_screen import first_screen, head_facts
from moe_eval_plugin.routing.page.sections.coactivation import coactivation_section
from moe_eval_plugin.routing.page.sections.load import load_section
from moe_eval_plugin.routing.page.sections.modality import modality_section
from moe_eval_plugin.routing.page.sections.saturation import saturation_section
from moe_eval_plugin.routing.page.sections.scores import margin_section, mass_section
from moe_eval_plugin.routing.page.sections.specialisation import task_section, token_section

if TYPE_CHECKING:
    from moe_eval_plugin.report.charts.base import Figure
    from moe_eval_plugin.routing.page.first_screen import FirstScreen
    from moe_eval_plugin.routing.page.heat_map import HeatMap
    from moe_eval_plugin.routing.page.parts import Section
    from moe_eval_plugin.routing.page.provenance import Provenance
    from moe_eval_plugin.routing.page.vocabulary import Vocabulary
    from moe_eval_plugin.routing.statistics.tables import RoutingStudy

FILES = PageFiles(
    packages=("moe_eval_plugin.routing.page", REPORT_PACKAGE),
    name="routing.html",
    styles=("base", "answer", "charts", "tables", "copy", "print", "routing"),
    scripts=("read", "address", "tables", "charts", "copy", "page", "heat_maps", "layers"),
    generator="moe-eval routing",
)


@dataclass(frozen=True)
class RoutingPage:
    """A page, and the charts that are written beside it."""

    html: str
    figures: tuple[Figure, ...]
    """The charts, in the order of the page."""
    maps: tuple[HeatMap, ...]
    """The heat maps, those of all layers."""
    screen: FirstScreen


def build_page(study: RoutingStudy, vocabulary: Vocabulary, provenance: Provenance) -> RoutingPage:
    """Return the page of a study."""
    screen = first_screen(study)
    found = (
        mass_section(study),
        margin_section(study),
        load_section(study),
        coactivation_section(study),
        token_section(study, vocabulary),
        task_section(study),
        modality_section(study),
        saturation_section(study),
    )
    sections: list[Section] = [one for one in found if one is not None]
    first = [screen.figure] if screen.figure is not None else []
    figures = (*first, *(figure for one in sections for figure in one.figures))
    html = filled(
        FILES,
        figures,
        title=f"What the routers of {study.model} choose",
        description=f"{screen.headline}. {screen.reason}",
        facts=head_facts(study),
        screen=screen,
        sections=sections,
        provenance=provenance,
        copies={},
    )
    maps = tuple(one for section in sections for one in section.all_maps)
    return RoutingPage(html, figures, maps, screen)
