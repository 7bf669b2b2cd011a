"""What must hold of each format, stated anew from its published description.

``EVERY_EVAL_EVER`` states what version 0.3.0 of the schema of that project asks for, as far as our
files have such parts, and what its data store checks beyond the schema. ``EVAL_RESULTS`` follows
the specification of ``.eval_results`` in the documentation of the Hugging Face Hub, ``MODEL_INDEX``
that of model cards there. Where a description lets anything pass, only what we write may pass here,
so that a misspelt name is noticed.
"""

from __future__ import annotations

import math
import re
from pathlib import PurePosixPath
from typing import Any

TEXT = {"type": "string", "minLength": 1}
NUMBER = {"type": "number"}
COUNT = {"type": "integer", "minimum": 0}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
BOUND = {"oneOf": [NUMBER, {"enum": ["Infinity", "-Infinity"]}]}
ISO_DATE = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$"}
COMMIT = {"type": "string", "pattern": "^[0-9a-f]{40}$"}


def mapping(needed: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """Describe a mapping of these fields and no others."""
    return {
        "type": "object",
        "required": list(needed),
        "properties": {**needed, **(optional or {})},
        "additionalProperties": False,
    }


def source_data(kind: str, **optional: Any) -> dict[str, Any]:
    """Describe one of the ways to name a data set."""
    needed = {"dataset_name": TEXT, "source_type": {"const": kind}}
    return mapping(needed, {**optional, "additional_details": TEXTS})


METRIC_CONFIG = {
    **mapping(
        {"lower_is_better": {"type": "boolean"}},
        {
            **dict.fromkeys(("metric_id", "metric_name", "metric_kind", "metric_unit"), TEXT),
            "metric_parameters": {
                "type": "object",
                "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
            },
            "score_type": {"enum": ["binary", "continuous"]},
            "min_score": BOUND,
            "max_score": BOUND,
        },
    ),
    "if": {"required": ["score_type"], "properties": {"score_type": {"const": "continuous"}}},
    "then": {"required": ["min_score", "max_score"]},
}
UNCERTAINTY = mapping(
    {}, {"standard_error": mapping({"value": NUMBER}, {"method": TEXT}), "num_samples": COUNT}
)
RESULT = mapping(
    {
        "evaluation_name": TEXT,
        "source_data": {
            "oneOf": [
                source_data("hf_dataset", hf_repo=TEXT, hf_split=TEXT, samples_number=COUNT),
                source_data("other"),
            ]
        },
        "metric_config": METRIC_CONFIG,
        "score_details": mapping({"score": NUMBER}, {"uncertainty": UNCERTAINTY}),
    },
    {
        "evaluation_result_id": TEXT,
        "generation_config": mapping({}, {"additional_details": TEXTS}),
    },
)
DEPLOYMENT = {
    "deployment_type": {"enum": ["self_deployed", "externally_managed", "unknown"]},
    "model_availability": {"enum": ["open_weights", "closed_weights", "unknown"]},
}
EVERY_EVAL_EVER = mapping(
    {
        "schema_version": {"const": "0.3.0"},
        "evaluation_id": TEXT,
        "retrieved_timestamp": {"type": "string", "pattern": r"^\d+(\.\d+)?$"},
        "source_metadata": mapping(
            {
                "source_type": {"enum": ["documentation", "evaluation_run"]},
                "source_organization_name": TEXT,
                "evaluator_relationship": {
                    "enum": ["first_party", "third_party", "collaborative", "other"]
                },
            },
            {"source_name": TEXT},
        ),
        "model_info": mapping(
            {
                "name": TEXT,
                "id": TEXT,
                "additional_details": {
                    **TEXTS,
                    "required": list(DEPLOYMENT),
                    "properties": DEPLOYMENT,
                },
            },
            {"developer": TEXT, "inference_engine": mapping({}, {"name": TEXT, "version": TEXT})},
        ),
        "eval_library": mapping({"name": TEXT, "version": TEXT}, {"additional_details": TEXTS}),
        "evaluation_results": {"type": "array", "items": RESULT, "minItems": 1},
    },
    {"evaluation_timestamp": {"type": "string", "pattern": r"^\d+(\.\d+)?$"}},
)

EVAL_RESULTS = {
    "type": "array",
    "minItems": 1,
    "items": mapping(
        {
            "dataset": mapping(
                {"id": {"type": "string", "pattern": "^[^/]+/[^/]+$"}, "task_id": TEXT},
                {"revision": COMMIT},
            ),
            "value": NUMBER,
        },
        {"date": ISO_DATE, "notes": TEXT},
    ),
}

MODEL_INDEX = mapping(
    {
        "model-index": {
            "type": "array",
            "minItems": 1,
            "items": mapping(
                {
                    "name": TEXT,
                    "results": {
                        "type": "array",
                        "minItems": 1,
                        "items": mapping(
                            {
                                "task": mapping({"type": TEXT}, {"name": TEXT}),
                                "dataset": mapping(
                                    {"name": TEXT, "type": TEXT},
                                    {"config": TEXT, "split": TEXT, "revision": COMMIT},
                                ),
                                "metrics": {
                                    "type": "array",
                                    "minItems": 1,
                                    "items": mapping(
                                        {"type": TEXT, "value": NUMBER},
                                        {"name": TEXT, "args": {"type": "object"}},
                                    ),
                                },
                            }
                        ),
                    },
                }
            ),
        }
    }
)

UUID4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
NOT_PORTABLE = re.compile(r'[<>:"/\\|?*\x00-\x1f]|[. ]$')
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def assert_data_store_takes(path: str, content: dict[str, Any]) -> None:
    """Check what the data store of Every Eval Ever asks for beyond the schema."""
    *folders, name = PurePosixPath(path).parts
    assert len(folders) == 4
    assert folders[0] == "data"
    assert re.fullmatch(rf"{UUID4}\.json", name)
    for folder in folders[1:]:
        assert not NOT_PORTABLE.search(folder), folder
        assert not RESERVED.fullmatch(folder), folder
        assert folder not in ("data", ".", ".."), folder
    assert content["model_info"]["id"] == "/".join(folders[2:])
    for result in content["evaluation_results"]:
        metric = result["metric_config"]
        score = result["score_details"]["score"]
        assert math.isfinite(score)
        bounds = (metric.get("min_score", -math.inf), metric.get("max_score", math.inf))
        low, high = (float(bound) for bound in bounds)
        assert low <= score <= high
