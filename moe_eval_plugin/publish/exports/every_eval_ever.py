"""Write results as Every Eval Ever, schema 0.3.0, in the layout of its data store.

Each task of each run becomes one file, ``data/<task>/<developer>/<model>/<uuid>.json``. The UUID
is a hash of the content, so the same run gives the same file each time. What a run cannot know is
written as unknown: who ran it, and their relation to the makers of the model. The schema has no
field for k; it is written with the settings of the generation, as text.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
import time
import uuid
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.plugins.exporter import Exported, Exporter
from moe_eval_plugin.publish.exports.calibration_questions import raise_if_chosen_on
from moe_eval_plugin.publish.exports.failures import raise_if_failed
from moe_eval_plugin.results.rows import PROPORTION
from moe_eval_plugin.results.score_facts import collect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from moe_eval_plugin.results.run import Run
    from moe_eval_plugin.results.score_facts import ScoreFacts

SCHEMA_VERSION = "0.3.0"
UNKNOWN = "unknown"
# Library that runs our models; other backends are left out.
ENGINES = {
    "moe_hf": "transformers",
    "moe_hf-multimodal": "transformers",
    "moe_vllm": "vllm",
    "moe_vllm-vlm": "vllm",
}
# Names of the hosts in the registry of the data store.
HARNESSES = {"lm-eval": "lm-evaluation-harness"}
OPEN_WEIGHTS = "open_weights"
# Owners of models without a repository: on a disk, or perhaps behind a server.
PLACEHOLDERS = ("local/", "unknown/")
# Names in the registry of the data store; others get a prefix: moe_eval, or that of the host.
METRIC_IDS = {"exact_match": "exact-match"}
OF_LM_EVAL = {
    **METRIC_IDS,
    "acc": "accuracy",
    "acc_norm": "normalized-accuracy",
    "f1": "f1",
    "perplexity": "perplexity",
}
PREFIXES = {"lmms-eval": "lmms_eval", **HARNESSES}
# Least and largest value of metrics that lm-eval defines itself.
UNBOUNDED = (1.0, math.inf)
BOUNDS = {
    **dict.fromkeys(("acc", "acc_norm", "exact_match", "f1", "mc1", "mc2"), (0.0, 1.0)),
    **dict.fromkeys(("perplexity", "word_perplexity", "byte_perplexity"), UNBOUNDED),
}
METRIC_KINDS = {
    PROPORTION: "accuracy",
    "samples/s": "throughput",
    "tokens/s": "throughput",
    "s": "latency",
}
GENERATION_FACTS = (
    "experts_k",
    "num_experts_per_tok",
    "observed_num_experts_per_tok",
    "baseline_num_experts_per_tok",
    "experts_policy",
    "renorm",
    "settings",
    "samples_per_s",
    "task_samples_per_s",
    "speed_from",
    "timed_batch_size",
    "speed_up",
    "speed_up_low",
    "speed_up_high",
    "wall_s",
    "n_answers_from_cache",
    "n_input_tokens",
    "n_output_tokens",
)
DATA_FACTS = (
    "data_origin",
    "data_revision",
    "data_sha256",
    "answer_set",
    "dataset_config",
    "n_questions",
)
BEFORE_PUBLISHING = (
    "Before you publish: fill in source_organization_name and evaluator_relationship, which a run "
    "does not record."
)


def export(runs: Sequence[Run], task: str | None) -> Exported:
    """Return a file for each task of each run.

    Scores without a known direction (higher or lower is better) are left out. Raises
    ``DataError`` if none is left, and ``IncompleteRunError`` if requests failed, or a setting was
    chosen on its questions.
    """
    raise_if_failed(runs, task)
    raise_if_chosen_on(runs, task)
    facts = collect(runs, task)
    kept = [one for one in facts if one.higher_is_better is not None]
    reasons = dict.fromkeys(_reason_to_skip(one) for one in facts if one not in kept)
    if not kept:
        message = f"Nothing can be exported to Every Eval Ever. {' '.join(reasons)}"
        raise DataError(message)
    by_run = itertools.groupby(kept, key=lambda one: (one.run, one.task))
    files = dict(_file(list(scores)) for _, scores in by_run)
    unpublished = {_portable_id(one) for one in kept if not one.hub_model}
    notes = [
        f"{name} is a placeholder for a model that has no repository on the Hub: change "
        "model_info.id and the folders of the file if the model has a public name."
        for name in sorted(unpublished)
    ]
    return Exported(files, (*reasons, *notes, BEFORE_PUBLISHING))


def _reason_to_skip(facts: ScoreFacts) -> str:
    return (
        f"{facts.task}: {facts.metric} is left out, because the run does not record whether higher "
        "is better, which the schema requires."
    )


def _file(scores: Sequence[ScoreFacts]) -> tuple[str, str]:
    """Return name and text of the file of one task of one run."""
    first = scores[0]
    log = _log(first, [_result(one) for one in scores])
    name = f"data/{_portable(first.task)}/{_portable_id(first)}/{_uuid(log)}.json"
    log["retrieved_timestamp"] = str(time.time())
    return name, json.dumps(log, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _uuid(log: Mapping[str, Any]) -> uuid.UUID:
    """Return a UUID that is a hash of the content; the data store accepts only version 4."""
    digest = hashlib.sha256(json.dumps(log, sort_keys=True).encode())
    return uuid.UUID(bytes=digest.digest()[:16], version=4)


def _portable_id(facts: ScoreFacts) -> str:
    return "/".join(_portable(part) for part in facts.model_id.split("/", 1))


def _portable(name: str) -> str:
    """Return a name that a folder may have on any operating system."""
    safe = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", name).strip(". ")
    reserved = re.fullmatch(r"(data|con|prn|aux|nul|com\d|lpt\d)(\..*)?", safe, re.IGNORECASE)
    return f"_{safe}" if reserved or not safe else safe


def _log(facts: ScoreFacts, results: list[dict[str, Any]]) -> dict[str, Any]:
    ran = str(facts.date.timestamp()) if facts.date else None
    what = (facts.task, _portable_id(facts), facts.setting, ran)
    packages = {name: version for name, version in facts.versions.items() if name != facts.host}
    host = HARNESSES.get(facts.host, facts.host)
    log: dict[str, Any] = _without_none(
        {
            "schema_version": SCHEMA_VERSION,
            "evaluation_id": "/".join(part for part in what if part),
            "evaluation_timestamp": ran,
            "source_metadata": {
                "source_name": host,
                "source_type": "evaluation_run",
                "source_organization_name": UNKNOWN,
                "evaluator_relationship": "other",
            },
            "eval_library": {
                "name": host,
                "version": facts.host_version or UNKNOWN,
                "additional_details": packages,
            },
            "model_info": _model_info(facts),
            "evaluation_results": results,
        }
    )
    return log


def _model_info(facts: ScoreFacts) -> dict[str, Any]:
    engine = ENGINES.get(facts.backend)
    has_public_name = facts.hub_model or not facts.model_id.startswith(PLACEHOLDERS)
    # Our models are loaded from their weights. Another backend may ask a server of which nothing is
    # known, under a name like one of the Hub.
    runs_here = facts.backend in ENGINES
    is_open = runs_here and has_public_name
    details = {
        "deployment_type": "self_deployed" if runs_here else UNKNOWN,
        "model_availability": OPEN_WEIGHTS if is_open else UNKNOWN,
        "backend": facts.backend,
        "revision": facts.model_revision,
    }
    return {
        "name": facts.model,
        "id": _portable_id(facts),
        "developer": _portable_id(facts).partition("/")[0] if has_public_name else None,
        "inference_engine": {"name": engine, "version": facts.versions.get(str(engine))}
        if engine
        else None,
        "additional_details": details,
    }


def _result(facts: ScoreFacts) -> dict[str, Any]:
    stderr = None if facts.stderr is None else {"value": facts.stderr}
    return {
        "evaluation_result_id": f"{facts.task}/{facts.metric}",
        "evaluation_name": "/".join([facts.task, *facts.metric.split(",")[1:]]),
        "source_data": _source_data(facts),
        "metric_config": _metric_config(facts),
        "score_details": {
            "score": facts.value,
            "uncertainty": {"standard_error": stderr, "num_samples": facts.n},
        },
        "generation_config": {"additional_details": _details(facts, GENERATION_FACTS)},
    }


def _source_data(facts: ScoreFacts) -> dict[str, Any]:
    """Return the source of the data; a data set on the Hub only if they were read from it."""
    is_hub = facts.dataset is not None and (facts.data_origin or "hub").startswith("hub")
    return {
        "dataset_name": facts.task,
        "source_type": "hf_dataset" if is_hub else "other",
        "hf_repo": facts.dataset if is_hub else None,
        "hf_split": facts.split if is_hub else None,
        "samples_number": facts.n_questions if is_hub else None,
        "additional_details": _details(facts, DATA_FACTS),
    }


def _metric_config(facts: ScoreFacts) -> dict[str, Any]:
    name, _, filter_name = facts.metric.partition(",")
    of_the_host = BOUNDS.get(name) if facts.host in HARNESSES else None
    low, high = facts.bounds or of_the_host or (None, None)
    unit = facts.unit or (PROPORTION if (low, high) == (0, 1) else None)
    return {
        "metric_id": _metric_id(facts, name),
        "metric_name": name,
        "metric_kind": METRIC_KINDS.get(str(unit)),
        "metric_unit": unit,
        "metric_parameters": {"scoring": facts.scoring, "filter": filter_name or None},
        "lower_is_better": not facts.higher_is_better,
        "score_type": None if low is None else "continuous",
        "min_score": low,
        "max_score": "Infinity" if high == math.inf else high,
    }


def _metric_id(facts: ScoreFacts, name: str) -> str:
    known = OF_LM_EVAL if facts.host in HARNESSES else METRIC_IDS
    prefix = "moe_eval" if facts.unit else PREFIXES.get(facts.host, facts.host)
    return known.get(name, f"{prefix}.{name}")


def _details(facts: ScoreFacts, names: Sequence[str]) -> dict[str, str]:
    """Return some of the facts in the form of details in the schema: a flat mapping of texts."""
    known = facts.known()
    flat: dict[str, Any] = {}
    for name in (name for name in names if name in known):
        nested = known[name] if isinstance(known[name], dict) else {"": known[name]}
        flat |= {f"{name}.{key}".strip("."): value for key, value in nested.items()}
    return {name: one if isinstance(one, str) else json.dumps(one) for name, one in flat.items()}


def _without_none(value: Any) -> Any:  # noqa: ANN401  (any JSON value)
    """Return a value without ``None`` at any depth, and without mappings that are then empty."""
    if isinstance(value, list):
        return [_without_none(one) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {name: _without_none(one) for name, one in value.items()}
    return {name: one for name, one in kept.items() if one not in (None, {})}


EXPORTERS = (
    Exporter(
        "every-eval-ever",
        f"JSON of Every Eval Ever, schema {SCHEMA_VERSION}, a file for each task of each run",
        export,
    ),
)
