"""A study of tuning as plain JSON data, and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.experts.schedules.tuning_record import By, CalibrationQuestions, Unit
from moe_eval_plugin.experts.tokens import CONTENT, PHASES
from moe_eval_plugin.stats.speed import Spread
from moe_eval_plugin.tuning.cells import Cell
from moe_eval_plugin.tuning.frontier.point import FrontierPoint
from moe_eval_plugin.tuning.prices.prices import Prices
from moe_eval_plugin.tuning.sensitivities import Loss, Sensitivities
from moe_eval_plugin.tuning.study.study import CalibratedPolicy, Origin, TuningStudy

if TYPE_CHECKING:
    from moe_eval_plugin.json_object import JsonObject

KIND = "tuning"
SCHEMA_VERSION = 1
# Losses are sums of float32 logits: further digits are noise.
DIGITS = 9


def study_to_dict(study: TuningStudy) -> dict[str, Any]:
    """Return a study as plain JSON data."""
    prices = study.prices
    return {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "origin": _plain(asdict(study.origin)),
        "by": study.by,
        "n_prompts": study.n_prompts,
        "data_free": study.data_free,
        "seed": study.seed,
        "n_tried": study.n_tried,
        "notes": list(study.notes),
        "frontier": [_point_to_dict(point) for point in study.points],
        "policies": [{**asdict(one), "loss": _loss_to_dict(one.loss)} for one in study.policies],
        "prices": {
            "unit": prices.unit,
            "baseline": prices.baseline,
            "fixed": prices.fixed,
            "step": prices.step,
            "notes": list(prices.notes),
            "cells": [
                {**asdict(cell), "k": k, "steps": steps, **_spread(prices, cell, k)}
                for (cell, k), steps in prices.by_cell.items()
            ],
        },
        "sensitivities": [
            {**asdict(cell), "k": k, **_loss_to_dict(loss)}
            for (cell, k), loss in study.sensitivities.losses.items()
        ],
        "tried": [{"experts_k": text, **_loss_to_dict(loss)} for text, loss in study.tried.items()],
        "questions": [{**asdict(one), "doc_ids": list(one.doc_ids)} for one in study.questions],
    }


def study_from_dict(values: JsonObject) -> TuningStudy:
    """Build a study from what ``study_to_dict`` returned; ``DataError`` for anything else."""
    if values.text("kind") != KIND:
        message = f"{values.source} is not a study of moe-eval tune."
        raise DataError(message)
    prices = _prices(values.need_item("prices"))
    losses = {
        (_cell(one), one.need_integer("k")): _loss(one) for one in values.items("sensitivities")
    }
    return TuningStudy(
        origin=_origin(values.need_item("origin")),
        by=values.choice("by", get_args(By)) or "layer",
        sensitivities=Sensitivities(prices.baseline, losses),
        prices=prices,
        points=tuple(_point(one) for one in values.items("frontier")),
        tried={one.need_text("experts_k"): _loss(one) for one in values.items("tried")},
        n_tried=values.need_integer("n_tried"),
        n_prompts=values.need_integer("n_prompts"),
        questions=tuple(CalibrationQuestions.from_dict(one) for one in values.items("questions")),
        data_free=values.flag("data_free"),
        seed=values.integer("seed") or 0,
        policies=tuple(_policy(one) for one in values.items("policies")),
        notes=values.texts("notes"),
    )


def _plain(content: dict[str, Any]) -> dict[str, Any]:
    return {name: dict(one) if isinstance(one, dict) else one for name, one in content.items()}


def _loss_to_dict(loss: Loss) -> dict[str, Any]:
    return {
        "mean": loss.mean,
        "standard_error": loss.standard_error,
        "by_prompt": [round(one, DIGITS) for one in loss.by_prompt.tolist()],
    }


def _loss(values: JsonObject) -> Loss:
    return Loss(np.array(values.numbers("by_prompt"), np.float64))


def _spread(prices: Prices, cell: Cell, k: int) -> dict[str, Any]:
    spread = prices.spreads.get((cell, k))
    return {"seconds": asdict(spread)} if spread else {}


def _point_to_dict(point: FrontierPoint) -> dict[str, Any]:
    losses = {"loss": point.loss, "uniform_loss": point.uniform_loss}
    return {
        **asdict(point),
        "ks": list(point.ks),
        **{name: loss and _loss_to_dict(loss) for name, loss in losses.items()},
        "verdict": point.verdict,
    }


def _point(values: JsonObject) -> FrontierPoint:
    uniform = values.item("uniform_loss")
    return FrontierPoint(
        target=values.need_number("target"),
        name=values.need_text("name"),
        experts_k=values.need_text("experts_k"),
        ks=values.integers("ks"),
        price=values.need_number("price"),
        predicted_loss=values.need_number("predicted_loss"),
        loss=_loss(values.need_item("loss")),
        uniform_k=values.integer("uniform_k"),
        uniform_price=values.number("uniform_price"),
        uniform_loss=_loss(uniform) if uniform else None,
        n_candidates=values.need_integer("n_candidates"),
        share_of_resamples=values.need_number("share_of_resamples"),
        flops=values.number("flops"),
        decode_bytes=values.number("decode_bytes"),
    )


def _policy(values: JsonObject) -> CalibratedPolicy:
    return CalibratedPolicy(
        target=values.need_number("target"),
        name=values.need_text("name"),
        experts_policy=values.need_text("experts_policy"),
        mean_k=values.need_number("mean_k"),
        price=values.need_number("price"),
        loss=_loss(values.need_item("loss")),
    )


def _cell(values: JsonObject) -> Cell:
    return Cell(
        values.need_integer("layer"),
        values.choice("modality", CONTENT),
        values.choice("phase", PHASES),
    )


def _prices(values: JsonObject) -> Prices:
    cells = values.items("cells")
    seconds = {
        (_cell(one), one.need_integer("k")): found
        for one in cells
        if (found := one.item("seconds")) is not None
    }
    return Prices(
        unit=values.choice("unit", get_args(Unit)) or "experts",
        baseline=values.need_integer("baseline"),
        by_cell={(_cell(one), one.need_integer("k")): one.need_integer("steps") for one in cells},
        fixed=values.need_number("fixed"),
        step=values.need_number("step"),
        spreads={
            key: Spread(
                one.need_number("median"),
                one.need_number("smallest"),
                one.need_number("largest"),
                one.need_integer("n"),
            )
            for key, one in seconds.items()
        },
        notes=values.texts("notes"),
    )


def _origin(values: JsonObject) -> Origin:
    versions = values.need_item("versions")
    return Origin(
        model=values.need_text("model"),
        revision=values.text("revision"),
        command=values.need_text("command"),
        date=values.need_text("date"),
        machine=values.mapping("machine"),
        versions={name: versions.text(name) for name in versions.values},
        settings=values.mapping("settings"),
    )
