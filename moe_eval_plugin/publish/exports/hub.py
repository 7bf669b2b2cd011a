"""Write results in the two formats of the Hugging Face Hub: ``.eval_results``, model-index.

Both belong in the repository of one model, and ``huggingface_hub`` 1.4 or later writes both. An
entry of ``.eval_results`` is one value for a leaderboard: the main score of its task, with the rest
as its note. A model-index lists every score, with all known facts as the arguments of its metric:
the Hub groups results by data set, and facts of the data set would hold for all of its results.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.plugins.exporter import Exported, Exporter
from moe_eval_plugin.publish.exports.calibration_questions import raise_if_chosen_on
from moe_eval_plugin.publish.exports.failures import raise_if_failed
from moe_eval_plugin.results.score_facts import collect
from moe_eval_plugin.text import as_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from huggingface_hub import EvalResult, EvalResultEntry

    from moe_eval_plugin.results.run import Run
    from moe_eval_plugin.results.score_facts import ScoreFacts

FOLDER = ".eval_results"
MODEL_INDEX = "model-index.yaml"
# A schedule by layers may be longer than the name of a file.
MAX_NAME_CHARACTERS = 100
OUR_TASK_TYPE = "visual-question-answering"
OTHER_TASK_TYPE = "image-text-to-text"
TEXT_TASK_TYPE = "text-generation"
# Ends of the names of lm-eval's models that see images.
MULTIMODAL = ("multimodal", "vlm")
NOTE_FACTS = (
    *("metric", "stderr", "n", "n_questions", "scoring", "answer_set"),
    *("experts_k", "num_experts_per_tok", "observed_num_experts_per_tok"),
    *("baseline_num_experts_per_tok", "experts_policy", "renorm"),
    *("model_revision", "data_origin", "data_revision", "data_sha256"),
    *("samples_per_s", "task_samples_per_s", "speed_from", "timed_batch_size"),
    *("speed_up", "speed_up_low", "speed_up_high"),
    *("n_answers_from_cache", "backend", "versions"),
)
NOT_METRIC_ARGUMENTS = frozenset({"metric", "value", "dataset", "dataset_config", "split"})
REGISTERED_ONLY = (
    "The Hub shows an entry if its data set is registered as a benchmark whose eval.yaml has the "
    "same task_id: check the data set, and change task_id if it differs. Each setting has a "
    "task_id of its own, so that a changed k never stands for the model as published."
)


def export_eval_results(runs: Sequence[Run], task: str | None) -> Exported:
    """Return a file of ``.eval_results`` for each task of each run.

    Raises ``DataError`` for runs of several models, and if no data set is on the Hub;
    ``IncompleteRunError`` if requests failed, or a setting was chosen on its questions.
    """
    from huggingface_hub import eval_result_entries_to_yaml

    raise_if_failed(runs, task)
    raise_if_chosen_on(runs, task)
    facts = _of_one_model(collect(runs, task))
    reasons = list(_reasons_to_skip(facts))
    chosen = [one for one in facts if one.is_main and one.dataset]
    if not chosen:
        message = f"Nothing can be exported to {FOLDER}. {' '.join(reasons)}"
        raise DataError(message)
    files: dict[str, str] = {}
    for one in chosen:
        name = _free_name(one, files)
        entry = _entry(one, PurePosixPath(name).stem)
        files[name] = _as_yaml(eval_result_entries_to_yaml([entry]))
    partial = [
        f"{one.task}, {one.setting or one.model}: {as_text(one.n)} of {as_text(one.n_questions)} "
        "questions; the note of the entry says so."
        for one in chosen
        if one.is_partial
    ]
    return Exported(files, (*_model_notes(facts), *reasons, *partial, REGISTERED_ONLY))


def export_model_index(runs: Sequence[Run], task: str | None) -> Exported:
    """Return the part ``model-index`` of the metadata of a model card, with every score.

    Raises ``DataError`` for runs of several models, and ``IncompleteRunError`` if requests failed,
    or a setting was chosen on its questions.
    """
    from huggingface_hub.repocard_data import eval_results_to_model_index

    raise_if_failed(runs, task)
    raise_if_chosen_on(runs, task)
    facts = _of_one_model(collect(runs, task))
    index = eval_results_to_model_index(facts[0].model, [_eval_result(one) for one in facts])
    return Exported({MODEL_INDEX: _as_yaml({"model-index": index})}, _model_notes(facts))


def _of_one_model(facts: list[ScoreFacts]) -> list[ScoreFacts]:
    models = sorted({one.pretrained for one in facts})
    if len(models) > 1:
        message = (
            f"These are runs of {len(models)} models: {', '.join(models)}. The files belong in the "
            "repository of one model: pass only the runs of one of them."
        )
        raise DataError(message)
    return facts


def _model_notes(facts: Sequence[ScoreFacts]) -> tuple[str, ...]:
    if facts[0].hub_model:
        return ()
    note = f"{facts[0].model} has no repository on the Hub: add the files where it is published."
    return (note,)


def _reasons_to_skip(facts: Sequence[ScoreFacts]) -> Iterator[str]:
    """Yield for each task that is left out the reason, once."""
    with_main = {(one.run, one.task) for one in facts if one.is_main}
    for task in dict.fromkeys(one.task for one in facts if (one.run, one.task) not in with_main):
        yield f"{task} is left out: it has no main score."
    for task in dict.fromkeys(one.task for one in facts if one.is_main and not one.dataset):
        yield f"{task} is left out: its data set has no repository on the Hub."


def _free_name(main: ScoreFacts, taken: Mapping[str, str]) -> str:
    """Return a file name from task and setting; files of equal names are numbered."""
    variant = "" if main.setting in ("", "as published") else f"_{main.setting.replace('=', '')}"
    name = re.sub(r"[^\w.-]+", "_", f"{main.task}{variant}", flags=re.ASCII).lstrip(".")
    name = name[:MAX_NAME_CHARACTERS]
    numbers = ("", *(f"_{number}" for number in range(2, len(taken) + 2)))
    names = (f"{FOLDER}/{name}{number}.yaml" for number in numbers)
    return next(name for name in names if name not in taken)


def _entry(main: ScoreFacts, task_id: str) -> EvalResultEntry:
    """Return an entry; two settings of a model are two tasks, as the Hub has no field for k."""
    from huggingface_hub import EvalResultEntry

    known = main.known()
    note = "; ".join(f"{name}={as_text(known[name])}" for name in NOTE_FACTS if name in known)
    return EvalResultEntry(
        dataset_id=str(main.dataset),
        task_id=task_id,
        value=main.value,
        dataset_revision=main.data_revision,
        date=main.date.isoformat() if main.date else None,
        notes=note,
    )


def _as_yaml(content: object) -> str:
    """Return YAML in ASCII: PyYAML turns some Unicode that it does not escape into spaces."""
    import yaml

    return str(yaml.safe_dump(content, sort_keys=False))


def _eval_result(facts: ScoreFacts) -> EvalResult:
    from huggingface_hub import EvalResult

    known = facts.known().items()
    return EvalResult(
        task_type=_task_type(facts),
        dataset_type=facts.dataset or facts.task,
        dataset_name=facts.task,
        dataset_config=facts.dataset_config,
        dataset_split=facts.split,
        dataset_revision=facts.data_revision,
        metric_type=facts.metric.partition(",")[0],
        metric_name=f"{facts.metric} ({facts.setting})" if facts.setting else facts.metric,
        metric_value=facts.value,
        metric_args={name: value for name, value in known if name not in NOT_METRIC_ARGUMENTS},
    )


def _task_type(facts: ScoreFacts) -> str:
    if facts.data_origin:
        return OUR_TASK_TYPE
    is_text = facts.host == "lm-eval" and not facts.backend.endswith(MULTIMODAL)
    return TEXT_TASK_TYPE if is_text else OTHER_TASK_TYPE


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
