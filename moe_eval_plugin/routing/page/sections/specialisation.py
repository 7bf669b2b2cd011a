"""Sections about specialisation: by token, and by task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_eval_plugin.routing.page.charts import Words, over_layers
from moe_eval_plugin.routing.page.layer_names import named_layers
from moe_eval_plugin.routing.page.parts import (
    Heading,
    LayerPanel,
    PageTable,
    Section,
    TableCell,
    name_cell,
    number_cell,
    percent,
    percent_exact,
    share_cell,
)
from moe_eval_plugin.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.report.charts.base import Figure
    from moe_eval_plugin.routing.page.vocabulary import Vocabulary
    from moe_eval_plugin.routing.statistics.tables import (
        LayerStudy,
        RoutingStudy,
        TaskSpecialisation,
        TokenSpecialisation,
    )

MOST_TOKENS = 6
MOST_FREQUENT = 20
MOST_EXPERTS = 16
STEADINESS = (
    "How far the token alone, without its context, decides the experts. A token's own experts are "
    "the k that its occurrences choose most often; its own share is the share of its choices that "
    "they are. Chance is the same for shuffled tokens; the corrected share is 0 at chance, and 1 "
    "where a token always has the same experts."
)
BY_TASK = (
    "How far the experts of a layer follow the task. The information that a chosen expert gives of "
    "its token's task is 0 if all tasks use the experts alike, and 1 if each has experts of its "
    "own. Chance is the same with tasks shuffled among the questions."
)


def token_section(study: RoutingStudy, vocabulary: Vocabulary) -> Section | None:
    """Return the section about tokens, or ``None`` where none occurs often enough."""
    layers = [
        (name, one, one.by_token) for name, one in named_layers(study) if one.by_token is not None
    ]
    if not layers:
        return None
    first = layers[0][2]
    counts = (
        f"Counted are the {counted(first.n_vocabulary, 'token')} of the vocabulary that occur "
        f"{first.min_count:,} times or more, in {counted(first.min_questions, 'question')} or "
        f"more: {percent(first.covered)} of the text tokens."
    )
    found = [(name, one.own_share, one.chance) for name, _, one in layers]
    words = Words(
        "token-specialisation",
        "Choices that go to a token's own experts",
        "Mean over the occurrences of frequent tokens.",
        _spoken("Own share", found),
        "share of choices",
    )
    return Section(
        id="tokens",
        title="Specialisation by token",
        link="By token",
        text=(STEADINESS, counts, *([vocabulary.reason] if vocabulary.reason else [])),
        figures=_beside_chance(words, found, "own share"),
        tables=(_tokens_by_layer(layers),),
        panels=tuple(_token_panel(name, one, vocabulary) for name, _, one in layers),
    )


def _spoken(what: str, found: Sequence[tuple[str, float, float]]) -> str:
    each = ", ".join(
        f"layer {name}: {percent_exact(value)} (chance {percent_exact(chance)})"
        for name, value, chance in found
    )
    return f"{what} by layer. {each}."


def _beside_chance(
    words: Words, found: Sequence[tuple[str, float, float]], what: str, top: float | None = 1.0
) -> tuple[Figure, ...]:
    """Return a chart of values and their chance over layers; none for a single layer."""
    rows = [
        {"layer": name, "value": value, "series": series}
        for name, own, chance in found
        for series, value in ((what, own), ("chance", chance))
    ]
    return (over_layers(words, rows, top),) if len(found) > 1 else ()


def _tokens_by_layer(layers: Sequence[tuple[str, LayerStudy, TokenSpecialisation]]) -> PageTable:
    rows = tuple(
        (
            name_cell(name, order),
            share_cell(one.own_share),
            share_cell(one.chance),
            share_cell(one.corrected, 1),
        )
        for order, (name, _, one) in enumerate(layers)
    )
    columns = (
        Heading("layer", is_number=False),
        Heading("own share", "share of a token's choices that are its own most frequent experts"),
        Heading("chance", "the same where tokens are shuffled"),
        Heading("corrected", "0% is chance, 100% a choice by the token alone; it orders layers"),
    )
    return PageTable("tokens-by-layer", "How far choices follow the token alone", columns, rows)


def _token_panel(name: str, found: TokenSpecialisation, vocabulary: Vocabulary) -> LayerPanel:
    return LayerPanel(
        name,
        tables=(
            _frequent_tokens(name, found, vocabulary),
            _tokens_of_experts(name, found, vocabulary),
        ),
    )


def _frequent_tokens(name: str, found: TokenSpecialisation, vocabulary: Vocabulary) -> PageTable:
    rows = tuple(
        (
            name_cell(vocabulary.text(one.token_id)),
            TableCell(one.count, f"{one.count:,}"),
            share_cell(one.own_share, 1),
            share_cell(one.chance),
            TableCell(
                None, ", ".join(f"{use.expert} ({percent(use.share)})" for use in one.experts)
            ),
        )
        for one in found.most_frequent[:MOST_FREQUENT]
    )
    columns = (
        Heading("token", is_number=False),
        Heading("occurrences"),
        Heading("own share", "share of its choices that are its own experts"),
        Heading("chance", "the same of as many tokens at random"),
        Heading("its experts", "with the share of its occurrences", is_number=False),
    )
    caption = f"Most frequent tokens in layer {name}"
    return PageTable(f"frequent-{name.replace(' ', '-')}", caption, columns, rows)


def _tokens_of_experts(name: str, found: TokenSpecialisation, vocabulary: Vocabulary) -> PageTable:
    rows = tuple(
        (
            name_cell(str(expert), expert),
            TableCell(
                None,
                " · ".join(
                    f"{vocabulary.text(one.token_id)} ({percent(one.share)})"
                    for one in tokens[:MOST_TOKENS]
                ),
            ),
            share_cell(tokens[0].share, 1),
            share_cell(tokens[0].expected),
        )
        for expert, tokens in enumerate(found.by_expert)
        if tokens
    )
    meaning = "with the share of their occurrences that chose the expert"
    columns = (
        Heading("expert", is_number=False),
        Heading("top tokens", meaning, is_number=False),
        Heading("first token", "share of its occurrences that chose the expert"),
        Heading("all tokens", "the same share of all text tokens"),
    )
    return PageTable(
        f"experts-{name.replace(' ', '-')}",
        f"Top tokens of each expert in layer {name}",
        columns,
        rows,
        f"Top tokens of each of the {len(rows)} experts of layer {name}",
    )


def task_section(study: RoutingStudy) -> Section | None:
    """Return the section about tasks, or ``None`` with a single one."""
    layers = [(name, one.by_task) for name, one in named_layers(study) if one.by_task is not None]
    if not layers:
        return None
    found = [(name, one.information, one.chance) for name, one in layers]
    words = Words(
        "task-information",
        "Information that a chosen expert gives of the task",
        "Mutual information of task and expert over the entropy of the tasks.",
        _spoken("Information", found),
        "information, 0 to 1",
        form="~g",
        exact=".3f",
    )
    shares = zip(study.tasks, layers[0][1].task_shares, strict=True)
    tokens = "Tokens: " + ", ".join(f"{task} {percent(share)}" for task, share in shares) + "."
    return Section(
        id="tasks",
        title="Specialisation by task",
        link="By task",
        text=(BY_TASK, tokens),
        figures=_beside_chance(words, found, "information", None),
        panels=tuple(_task_panel(name, one, study.tasks) for name, one in layers),
    )


def _task_panel(name: str, found: TaskSpecialisation, tasks: Sequence[str]) -> LayerPanel:
    known = [one for one in found.experts if one.shares is not None]
    known.sort(key=lambda one: (one.divergence or 0) - (one.chance or 0), reverse=True)
    rows = tuple(
        (
            name_cell(str(one.expert), one.expert),
            TableCell(one.tokens, f"{one.tokens:,}"),
            number_cell(one.divergence, ".3f"),
            number_cell(one.chance, ".3f"),
            *(share_cell(share, 1) for share in one.shares or ()),
        )
        for one in known[:MOST_EXPERTS]
    )
    columns = (
        Heading("expert", is_number=False),
        Heading("tokens", "tokens that chose it"),
        Heading("divergence", "from the tasks of all tokens, in nats"),
        Heading("chance", "the same with tasks shuffled among questions"),
        *(Heading(task, "share of the expert's tokens") for task in tasks),
    )
    text = (
        f"Information {found.information:.3f}, by chance {found.chance:.3f}. The experts whose "
        "tokens differ most from all tokens, beyond chance, come first."
    )
    caption = f"Tasks of the experts of layer {name}"
    table = PageTable(f"tasks-{name.replace(' ', '-')}", caption, columns, rows)
    return LayerPanel(name, (text,), (), (table,))
