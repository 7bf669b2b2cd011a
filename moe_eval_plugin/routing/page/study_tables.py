"""Tables of a routing study in tidy form, one Parquet file each: a row for each number."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from moe_eval_plugin.routing.page.vocabulary import Vocabulary
    from moe_eval_plugin.routing.statistics.tables import (
        GroupRouting,
        GroupSummary,
        LayerStudy,
        RoutingStudy,
        Spread,
    )
    from moe_eval_plugin.stats.resampling import Interval

    Row = Mapping[str, Any]

COMPRESSION = "zstd"


def study_tables(study: RoutingStudy, vocabulary: Vocabulary) -> dict[str, bytes]:
    """Return the tables that have rows, as Parquet, by the names of their files.

    ``layer`` is the path of a layer; it is null in rows about the mean over layers.
    """
    tables: dict[str, Iterable[Row]] = {
        "layers": map(_layer, study.layers),
        "load": _by_layer_and_group(study, _load),
        "load_by_layer": _by_layer_and_group(study, _load_summary),
        "margins": _by_layer_and_group(study, _margins),
        "mass": (*_by_layer_and_group(study, _mass), *_means(study, _mass)),
        "saturation": (*_by_layer_and_group(study, _saturation), *_means(study, _saturation)),
        "tokens_by_layer": _token_layers(study),
        "tokens_by_expert": _expert_tokens(study, vocabulary),
        "frequent_tokens": _frequent_tokens(study, vocabulary),
        "tasks": _tasks(study),
    }
    written = {f"{name}.parquet": _parquet(list(rows)) for name, rows in tables.items()}
    written["coactivation.parquet"] = _coactivation(study)
    return {name: content for name, content in written.items() if content}


def _parquet(rows: list[Row]) -> bytes:
    """Return rows as Parquet; nothing for none."""
    import pyarrow as pa

    return _written(pa.Table.from_pylist(rows)) if rows else b""


def _written(table: Any) -> bytes:  # noqa: ANN401  (pyarrow ships no types)
    import pyarrow.parquet as pq

    content = io.BytesIO()
    pq.write_table(table, content, compression=COMPRESSION)
    return content.getvalue()


def _layer(layer: LayerStudy) -> Row:
    names = ("num_experts", "num_zero_experts", "published_k", "n_tokens")
    return {"layer": layer.path, **{name: getattr(layer, name) for name in names}}


def _by_layer_and_group(study: RoutingStudy, rows: Any) -> Iterator[Row]:  # noqa: ANN401
    for layer in study.layers:
        for group in layer.groups:
            named = {"layer": layer.path, "kind": group.group.kind, "group": group.group.name}
            for row in rows(group):
                yield {**named, **row}


def _means(study: RoutingStudy, rows: Any) -> Iterator[Row]:  # noqa: ANN401
    for group in study.summary:
        for row in rows(group):
            yield {"layer": None, "kind": group.group.kind, "group": group.group.name, **row}


def _spread(name: str, spread: Spread | None) -> Row:
    return {
        name: spread.mean if spread else None,
        f"{name}_p10": spread.p10 if spread else None,
        f"{name}_p90": spread.p90 if spread else None,
    }


def _interval(name: str, interval: Interval | None) -> Row:
    return {
        f"{name}_low": interval.low if interval else None,
        f"{name}_high": interval.high if interval else None,
    }


def _load(group: GroupRouting) -> Iterator[Row]:
    total = sum(group.load.tokens)
    for expert, tokens in enumerate(group.load.tokens):
        yield {"expert": expert, "tokens": tokens, "share": tokens / total if total else None}


def _load_summary(group: GroupRouting) -> Iterator[Row]:
    load = group.load
    yield {
        "n_tokens": group.n_tokens,
        "load_entropy": load.entropy,
        "load_gini": load.gini,
        "n_unused": len(load.unused),
        "largest": load.largest,
        "zero_share": load.zero_share,
        **_spread("ffn_k", load.ffn_k),
        **_spread("router_entropy_nats", group.entropy),
    }


def _margins(group: GroupRouting) -> Iterator[Row]:
    for one in group.margins or ():
        yield {"k": one.k, "median": one.median, **_spread("margin", one.margin)}


def _mass(group: GroupRouting | GroupSummary) -> Iterator[Row]:
    for one in group.mass or ():
        yield {
            "k": one.k,
            **_spread("retained", one.retained),
            **_interval("retained", one.interval),
            "of_all": one.of_all,
        }


def _saturation(group: GroupRouting | GroupSummary) -> Iterator[Row]:
    for one in group.saturation or ():
        yield {
            "k": one.k,
            "overlap": one.overlap,
            **_interval("overlap", one.interval),
            "chance": one.chance,
        }


def _token_layers(study: RoutingStudy) -> Iterator[Row]:
    names = ("n_vocabulary", "covered", "min_count", "min_questions")
    shares = ("own_share", "chance", "corrected")
    for layer in study.layers:
        if layer.by_token is not None:
            own = {name: getattr(layer.by_token, name) for name in (*names, *shares)}
            yield {"layer": layer.path, **own}


def _expert_tokens(study: RoutingStudy, vocabulary: Vocabulary) -> Iterator[Row]:
    names = ("expert", "token_id", "count", "share", "expected")
    for layer in study.layers:
        for tokens in layer.by_token.by_expert if layer.by_token else ():
            for one in tokens:
                own = {name: getattr(one, name) for name in names}
                yield {"layer": layer.path, **own, "text": vocabulary.texts.get(one.token_id)}


def _frequent_tokens(study: RoutingStudy, vocabulary: Vocabulary) -> Iterator[Row]:
    for layer in study.layers:
        for token in layer.by_token.most_frequent if layer.by_token else ():
            for one in token.experts:
                yield {
                    "layer": layer.path,
                    "token_id": token.token_id,
                    "text": vocabulary.texts.get(token.token_id),
                    "count": token.count,
                    "own_share": token.own_share,
                    "chance": token.chance,
                    "expert": one.expert,
                    "share": one.share,
                    "expected": one.expected,
                }


def _tasks(study: RoutingStudy) -> Iterator[Row]:
    for layer in study.layers:
        for one in layer.by_task.experts if layer.by_task else ():
            for task, share in zip(study.tasks, one.shares or (), strict=False):
                yield {
                    "layer": layer.path,
                    "expert": one.expert,
                    "task": task,
                    "share": share,
                    "divergence_nats": one.divergence,
                    "chance_nats": one.chance,
                }


def _coactivation(study: RoutingStudy) -> bytes:
    """Return all pairs of all layers; a list of rows would take minutes with 128 experts."""
    import numpy as np
    import pyarrow as pa

    parts = []
    for layer in study.layers:
        found = layer.coactivation
        if found is None:
            continue
        indices = np.indices(found.conditional.shape)
        keep = indices[0] != indices[1]
        columns = {
            "first": indices[0][keep].astype(np.int16),
            "second": indices[1][keep].astype(np.int16),
            "share_of_first": found.conditional[keep],
            "lift": pa.array(found.lift[keep], from_pandas=True),
        }
        parts.append(pa.table({"layer": [layer.path] * int(keep.sum()), **columns}))
    return _written(pa.concat_tables(parts)) if parts else b""
