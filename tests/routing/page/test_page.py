"""The page says what the study has, in words and tables, and loads nothing from outside."""

from __future__ import annotations

import html as text_of_html
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

for name in ("altair", "jinja2", "vl_convert"):
    pytest.importorskip(name, reason="the extra report is not installed")

from moe_eval_plugin.routing.page.page import RoutingPage, build_page  # noqa: E402
from moe_eval_plugin.routing.page.parts import UNKNOWN  # noqa: E402
from moe_eval_plugin.routing.page.provenance import Provenance  # noqa: E402
from moe_eval_plugin.routing.page.vocabulary import Vocabulary  # noqa: E402
from moe_eval_plugin.routing.sources import Collection, Source  # noqa: E402
from moe_eval_plugin.routing.statistics.study import study  # noqa: E402
from tests.report.test_build import Page  # noqa: E402
from tests.routing.page.known_traces import (  # noqa: E402
    FIRST,
    SECOND,
    at_published_k,
    known_trace,
    other_trace,
    with_an_unused_layer,
    with_unsure_tokens,
    with_zero_experts,
)

if TYPE_CHECKING:
    from moe_eval_plugin.routing.trace import RoutingTrace

ATTACK = "</script><img src=x onerror=alert(1)>"
TEXTS = {FIRST: " the", SECOND: ATTACK}
COLLECTION = Collection(
    date="2026-11-29T05:00:00+00:00",
    command="moe-eval routing a/model --tasks first second --output here",
    machine={"name": "A processor"},
    versions={"torch": "2.9"},
    settings={"dtype": "float32"},
)


def page_of(trace: RoutingTrace, against: RoutingTrace | None = None) -> RoutingPage:
    found = study(trace, against)
    sources = (Source(trace, COLLECTION), *([Source(against, Collection())] if against else []))
    provenance = Provenance(
        found.tasks, found.n_questions, found.n_tokens, sources, "moe-eval routing --traces here"
    )
    return build_page(found, Vocabulary(TEXTS), provenance)


@pytest.fixture(scope="module")
def page() -> RoutingPage:
    return page_of(known_trace(), other_trace())


def rows(page: RoutingPage, table: str) -> list[list[str]]:
    """Return the texts of a table of the page, its headings first."""
    found = re.search(rf'<table[^>]* id="{table}"[^>]*>(.*?)</table>', page.html, re.DOTALL)
    assert found is not None, table
    return [
        [
            text_of_html.unescape(re.sub(r"<[^>]+>", "", cell)).strip()
            for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        ]
        for row in re.findall(r"<tr>(.*?)</tr>", found[1], re.DOTALL)
    ]


def sections(page: RoutingPage) -> list[str]:
    return re.findall(r'<section id="(\w+)"', page.html)


def test_the_headline_is_the_weight_retained_at_half_of_the_published_k(page: RoutingPage) -> None:
    # Of the layers 0.6 of 0.8, 0.5 of 0.8 and 0.44 of 0.8.
    assert page.screen.headline == "At k=1 the routers keep 64% of the weight of k=2"
    assert "95% interval 64.2% to 64.2%" in page.screen.reason
    assert "The smallest k that keeps 90% is 2" in page.screen.reason
    assert f'<p class="headline">{page.screen.headline}</p>' in page.html


def test_weight_retained_by_k_and_layer(page: RoutingPage) -> None:
    assert rows(page, "retained")[1:] == [
        ["k=2", "100.0%", *[UNKNOWN] * 3],
        ["k=1", "64.2%", "64.2% to 64.2%", "64.2% to 64.2%", "55.0% (layer 3)"],
    ]
    assert rows(page, "mass-by-layer") == [
        ["layer", "k=1", "k=2"],
        ["1", "75.0%", "100.0%"],
        ["2", "62.5%", "100.0%"],
        ["3", "55.0%", "100.0%"],
    ]
    assert ["first", "task", "200", "64.2%", "100.0%"] in rows(page, "mass-by-group")


def test_means_stand_beside_the_spread_of_the_tokens() -> None:
    found = page_of(with_unsure_tokens())

    # Of each token, the mean of the layers 0.75 or 0.5, 0.625, and 0.55.
    _, mean, interval, spread, lowest = rows(found, "retained")[2]
    assert (mean, spread, lowest) == ("60.0%", "55.8% to 64.2%", "55.0% (layer 3)")
    low, high = (float(end.removesuffix("%")) for end in interval.split(" to "))
    assert 55.8 < low < 60 < high < 64.2
    assert rows(found, "mass-by-layer")[1] == ["1", "62.5%", "100.0%"]


def test_the_chart_has_the_numbers_of_the_tables(page: RoutingPage) -> None:
    spec = page.figures[0].chart.to_dict()
    drawn = spec["datasets"].values()
    by_layer = {
        row["layer"]: row["value"]
        for row in next(values for values in drawn if "layer" in values[0])
        if row["k"] == 1
    }

    assert page.figures[0].name == "retained-mass"
    assert by_layer == pytest.approx({"1": 0.75, "2": 0.625, "3": 0.55})
    assert "k=1: 64.2%" in page.figures[0].description


def test_margins_by_layer(page: RoutingPage) -> None:
    assert rows(page, "margins-by-layer")[1:] == [
        ["1", "0.4000", "0.1000"],
        ["2", "0.2000", "0.2000"],
        ["3", "0.0800", "0.2100"],
    ]


def test_load_by_layer(page: RoutingPage) -> None:
    assert rows(page, "load-by-layer")[1:] == [
        ["1", "0.500", "0.500", "1 of 4", "2.00×", "2 (2, 3)"],
        ["2", "1.000", "0.000", "2 of 4", "1.00×", "0"],
        ["3", "1.000", "0.000", "2 of 4", "1.00×", "0"],
    ]
    labels = [(fact.label, fact.value) for fact in page.screen.facts]
    assert labels == [("Most concentrated layer", "Layer 1: 1 of 4"), ("Unused experts", "2 of 12")]


def test_experts_chosen_together_layer_by_layer(page: RoutingPage) -> None:
    names = [one.name for one in page.maps]
    second = page.maps[names.index("coactivation-layer-2")]

    assert names == ["load", *(f"coactivation-layer-{number}" for number in (1, 2, 3))]
    # Expert 0 is chosen with 1 alone.
    assert second.values[0].tolist() == [0, 1, 0, 0]
    assert page.html.count('class="layer" data-layer="2"') == 3
    assert rows(page, "pairs-2")[1][0] in {"0 and 1", "2 and 3"}


def test_specialisation_by_token_has_their_texts(page: RoutingPage) -> None:
    by_layer = {row[0]: row[3] for row in rows(page, "tokens-by-layer")[1:]}
    experts = rows(page, "experts-2")[1:]

    assert by_layer["2"] == "100.0%"
    assert experts[0][:2] == ["0", f"␣the (100%) · {ATTACK.replace(' ', '␣')} (0%)"] or experts[0][
        1
    ].startswith("␣the (100%)")
    frequent = {row[0]: row[4] for row in rows(page, "frequent-2")[1:]}
    assert frequent["␣the"] == "0 (100%), 1 (100%)"


def test_specialisation_by_task(page: RoutingPage) -> None:
    table = rows(page, "tasks-3")

    assert table[0][-2:] == ["first", "second"]
    assert {row[0]: row[-2:] for row in table[1:]}["2"] == ["0.0%", "100.0%"]
    assert any(
        sentence.startswith("A chosen expert tells most of its token's task in layer 3: 100%")
        for sentence in page.screen.findings
    )


def test_saturation_by_k_and_layer(page: RoutingPage) -> None:
    # Of the first layer's two experts none is the same: 0 and 1, 2 and 3.
    assert rows(page, "saturation-by-layer")[1:] == [
        ["1", "0.0%", "0.0%"],
        ["2", "100.0%", "100.0%"],
        ["3", "100.0%", "100.0%"],
    ]
    assert [row[:2] for row in rows(page, "saturation-means")[1:]] == [
        ["k=1", "66.7%"],
        ["k=2", "66.7%"],
    ]


def test_sections_are_those_that_the_trace_has_numbers_for(page: RoutingPage) -> None:
    everything = ["answer", "mass", "margins", "load", "coactivation", "tokens", "tasks"]
    plain = page_of(known_trace(scores=False))

    assert sections(page) == [*everything, "saturation", "provenance"]
    assert sections(plain) == ["answer", "load", "coactivation", "tokens", "tasks", "provenance"]
    assert plain.screen.headline == "Layer 1 makes half of its choices from 1 of 4 experts"
    assert "do not show their scores" in plain.screen.reason
    assert page.html.count('href="#saturation"') == 1


def test_modalities_are_shown_where_there_are_images() -> None:
    found = page_of(known_trace(images=True))

    assert "modality" in sections(found)
    assert {"load-text", "load-image"} <= {one.name for one in found.maps}
    # In layer 2 text and image tokens have no expert in common.
    assert (
        "Between 0.0% (layer 2) and 100.0% (layer 1) of their loads is on the same experts"
        in found.html
    )


def test_what_it_does_not_say_is_on_the_page(page: RoutingPage) -> None:
    assert "What this does not say" in page.html
    assert "Retained mass is no accuracy." in page.html
    assert "All numbers are of first, second." in page.html


def test_the_page_says_where_its_numbers_come_from(page: RoutingPage) -> None:
    texts = " ".join(Page(page.html).texts)

    for part in ("moe-eval routing --traces here", "A processor", "torch 2.9", "0f3a", "float32"):
        assert part in texts
    assert "Compared with another/model" in texts


def test_nothing_is_loaded_from_outside_and_names_stay_text(page: RoutingPage) -> None:
    parsed = Page(page.html)
    names = [name for _, attributes in parsed.elements for name in attributes]
    links = [attributes.get("href") for tag, attributes in parsed.elements if tag == "a"]

    assert "src" not in names
    assert "onerror" not in names
    assert all(link is not None and link.startswith("#") for link in links)
    assert not re.search(r"url\((?!data:)", page.html.partition("<body>")[0])
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page.html)
    assert policy is not None
    assert "default-src 'none'; img-src data:" in policy[1]


def test_every_map_and_table_has_a_name(page: RoutingPage) -> None:
    parsed = Page(page.html)
    cells = [attributes for _, attributes in parsed.elements if attributes.get("class") == "cells"]
    captions = {attributes.get("id") for tag, attributes in parsed.elements if tag == "caption"}
    regions = [
        attributes for _, attributes in parsed.elements if attributes.get("class") == "scroll tall"
    ]

    assert len(cells) == len(page.maps)
    assert all(one["role"] == "img" and one["aria-label"] for one in cells)
    assert regions
    assert all(one["aria-labelledby"] in captions for one in regions)


def test_a_layer_that_no_token_reached_has_no_numbers() -> None:
    found = page_of(with_an_unused_layer())

    assert found.screen.headline == "At k=1 the routers keep 64% of the weight of k=2"
    assert found.screen.facts[0].value == "Layer 1: 1 of 4"
    assert found.screen.facts[1].value == "2 of 12"
    assert [row[0] for row in rows(found, "load-by-layer")] == ["layer", "1", "2", "3"]
    assert "1 layer got no token and is left out: 4." in found.html


def test_experts_that_compute_nothing_have_their_share_and_ffn_k() -> None:
    found = page_of(with_zero_experts())

    headings, *layers = rows(found, "load-by-layer")
    assert headings[-2:] == ["zero share", "FFN k"]
    # Half of the tokens of the second layer choose the two that compute nothing.
    assert [row[-2:] for row in layers[:2]] == [
        ["0.0%", "2.00 (2 to 2)"],
        ["50.0%", "1.00 (0 to 2)"],
    ]
    assert any(
        "0% (layer 1) and 50% (layer 2) of the choices are experts that compute nothing: a token "
        "uses 1.33 computing experts" in sentence
        for sentence in found.screen.findings
    )


def test_at_a_published_k_of_1_there_is_no_smaller_one() -> None:
    found = page_of(at_published_k(1))

    assert found.screen.headline.startswith("Layer 1 makes half of its choices from 1 of 4")
    assert "At a published k of 1 no smaller k is possible." in found.screen.reason
    assert "coactivation" not in sections(found)


def test_notes_of_a_trace_are_on_the_page() -> None:
    note = "The trace ends with the second question."

    assert f"<li>{note}</li>" in page_of(replace(known_trace(), notes=(note,))).html
