"""The two forms in which the Hugging Face Hub takes results: ``.eval_results`` and model-index.

Both belong into the repository of one model, and both are made by ``huggingface_hub`` itself, of
1.4 or later. An entry of ``.eval_results`` is one value for a leaderboard: the score that stands
for its task, with the rest as its note. A model-index lists every score, with all that is known of
it as the arguments of its metric: the Hub groups results by data set, and what stands there would
be taken for that of all of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.plugins.exporter import Exported, Exporter
from moe_eval_plugin.results.score_facts import as_text, collect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from huggingface_hub import EvalResult, EvalResultEntry

    from moe_eval_plugin.results.run import Run
    from moe_eval_plugin.results.score_facts import ScoreFacts

FOLDER = ".eval_results"
MODEL_INDEX = "model-index.yaml"
OUR_TASK_TYPE = "visual-question-answering"
OTHER_TASK_TYPE = "image-text-to-text"
NOTED = (
    *("metric", "stderr", "n", "n_questions", "scoring", "answer_set"),
    *("experts_k", "num_experts_per_tok", "observed_num_experts_per_tok"),
    *("baseline_num_experts_per_tok", "experts_policy", "renorm"),
    *("model_revision", "data_origin", "data_revision", "data_sha256"),
    *("samples_per_s", "backend", "versions"),
)
NOT_AN_ARGUMENT = frozenset({"metric", "value", "dataset", "dataset_config", "split"})
REGISTERED_ONLY = (
    "The Hub shows an entry where the data set is registered as a benchmark whose eval.yaml has "
    "the same task_id; look there, and change task_id if it is called otherwise."
)


def export_eval_results(runs: Sequence[Run], task: str | None) -> Exported:
    """Make a file of ``.eval_results`` for each task of each run.

    Raises ``DataError`` for runs of several models, and if no task has a place on the Hub.
    """
    from huggingface_hub import eval_result_entries_to_yaml

    facts = _of_one_model(collect(runs, task))
    reasons = list(_reasons_to_skip(facts))
    chosen = [one for one in facts if one.is_main and one.dataset]
    if not chosen:
        message = f"Nothing can be exported to {FOLDER}. {' '.join(reasons)}"
        raise DataError(message)
    files: dict[str, str] = {}
    for one in chosen:
        files[_free_name(one, files)] = _as_yaml(eval_result_entries_to_yaml([_entry(one)]))
    partial = [
        f"{one.task}, {one.setting or one.model}: {as_text(one.n)} of {as_text(one.n_questions)} "
        "questions; the note of the entry says so."
        for one in chosen
        if one.is_partial
    ]
    return Exported(files, (*_model_notes(facts), *reasons, *partial, REGISTERED_ONLY))


def export_model_index(runs: Sequence[Run], task: str | None) -> Exported:
    """Make the part ``model-index`` of the metadata of a model card, with every score.

    Raises ``DataError`` for runs of several models.
    """
    from huggingface_hub.repocard_data import eval_results_to_model_index

    facts = _of_one_model(collect(runs, task))
    index = eval_results_to_model_index(facts[0].model, [_eval_result(one) for one in facts])
    return Exported({MODEL_INDEX: _as_yaml({"model-index": index})}, _model_notes(facts))


def _of_one_model(facts: list[ScoreFacts]) -> list[ScoreFacts]:
    models = sorted({one.pretrained for one in facts})
    if len(models) > 1:
        message = (
            f"These are runs of {len(models)} models: {', '.join(models)}. What is exported "
            "belongs into the repository of one model; give the runs of one of them."
        )
        raise DataError(message)
    return facts


def _model_notes(facts: Sequence[ScoreFacts]) -> tuple[str, ...]:
    if facts[0].hub_model:
        return ()
    note = (
        f"{facts[0].model} is no repository on the Hub: its results belong where it is published."
    )
    return (note,)


def _reasons_to_skip(facts: Sequence[ScoreFacts]) -> Iterator[str]:
    """Say of each task once why it is left out."""
    with_main = {(one.run, one.task) for one in facts if one.is_main}
    for task in dict.fromkeys(one.task for one in facts if (one.run, one.task) not in with_main):
        yield f"{task} is left out: no score stands for it."
    for task in dict.fromkeys(one.task for one in facts if one.is_main and not one.dataset):
        yield f"{task} is left out: its data set has no repository on the Hub."


def _free_name(main: ScoreFacts, taken: Mapping[str, str]) -> str:
    """Name a file by its task and by what was asked for; runs of the same are numbered."""
    variant = "" if main.setting in ("", "as published") else f"_{main.setting.replace('=', '')}"
    name = re.sub(r"[^\w.-]+", "_", f"{main.task}{variant}", flags=re.ASCII).lstrip(".")
    numbers = ("", *(f"_{number}" for number in range(2, len(taken) + 2)))
    names = (f"{FOLDER}/{name}{number}.yaml" for number in numbers)
    return next(name for name in names if name not in taken)


def _entry(main: ScoreFacts) -> EvalResultEntry:
    from huggingface_hub import EvalResultEntry

    known = main.known()
    note = "; ".join(f"{name}={as_text(known[name])}" for name in NOTED if name in known)
    return EvalResultEntry(
        dataset_id=str(main.dataset),
        task_id=main.task,
        value=main.value,
        dataset_revision=main.data_revision,
        date=main.date.isoformat() if main.date else None,
        notes=note,
    )


def _as_yaml(content: object) -> str:
    """Write YAML in ASCII: PyYAML makes a space of some Unicode that it does not escape."""
    import yaml

    return str(yaml.safe_dump(content, sort_keys=False))


def _eval_result(facts: ScoreFacts) -> EvalResult:
    from huggingface_hub import EvalResult

    known = facts.known().items()
    return EvalResult(
        task_type=OUR_TASK_TYPE if facts.data_origin else OTHER_TASK_TYPE,
        dataset_type=facts.dataset or facts.task,
        dataset_name=facts.task,
        dataset_config=facts.dataset_config,
        dataset_split=facts.split,
        dataset_revision=facts.data_revision,
        metric_type=facts.metric,
        metric_name=f"{facts.metric} ({facts.setting})" if facts.setting else facts.metric,
        metric_value=facts.value,
        metric_args={name: value for name, value in known if name not in NOT_AN_ARGUMENT},
    )


EXPORTERS = (
    Exporter(
        "hf-eval-results",
        f"{FOLDER}/*.yaml for a model's repository on the Hugging Face Hub, an entry for each task",
        export_eval_results,
    ),
    Exporter(
        "model-index",
        "the part model-index of a model card's metadata, with every score",
        export_model_index,
    ),
)
