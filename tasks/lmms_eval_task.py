"""Task class of the VQA tasks, with its own data loading, for chat and simple models.

lmms-eval loads data from the hub, tries five times whatever the error, and shows its traceback.
Here the data may come from official files, and an error ends the run with one message.
"""

from __future__ import annotations

import inspect
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import datasets
from lmms_eval.api.task import ConfigurableMessagesTask, ConfigurableTask

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.hosts.exit_codes import user_errors
from moe_eval_plugin.hosts.lmms_eval.result_rows import add_rows_to_results
from moe_eval_plugin.tasks.vqa import answers_of, check_scoring
from moe_eval_plugin.vqa.dataset import (
    DATA_VARIABLE,
    Questions,
    data_folder,
    is_strict,
    load_easy_vqa,
    without_hub,
)
from moe_eval_plugin.vqa.official_data import load_official, read_annotations
from moe_eval_plugin.vqa.official_files import not_loaded_text
from moe_eval_plugin.vqa.scores_by_type import SCORES_BY_TYPE, average_by_type
from moe_eval_plugin.vqa.stemming import RAW, STEMMED, detect_answer_set

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from lmms_eval.api.instance import Instance
    from PIL.Image import Image

logger = logging.getLogger(__name__)

HUB_TIMEOUT_S = 10
EASY_VQA = "easy_vqa"
NEEDED_COLUMNS = frozenset({"question_id", "question", "image"})
FEATURES = datasets.Features(
    {
        "question_id": datasets.Value("int64"),
        "image_id": datasets.Value("int64"),
        "question": datasets.Value("string"),
        "image": datasets.Image(decode=False),
        "answers": datasets.List(datasets.Value("string")),
        "question_type": datasets.Value("string"),
        "answer_type": datasets.Value("string"),
    }
)


class VQATask(ConfigurableMessagesTask):
    """A VQA task whose YAML file names the source of its data in ``dataset_kwargs.source``.

    The source is ``easy_vqa`` (the package) or a key of ``OFFICIAL_FILES``: official files if
    ``MOE_EVAL_DATA`` is set, else the hub. ``metadata.scoring`` maps each metric to the name of a
    scoring mode, which decides the rows of the results; runs are compared by the first metric.
    ``dataset_kwargs.answer_set`` is the expected set of answers, ``stemmed`` or ``raw``, where the
    data set has both. The origin of the data and the number of questions left out are added to the
    metadata, and so to the results.
    """

    def __init__(self, config: Mapping[str, Any], model_name: str | None = None) -> None:
        settings = {key: value for key, value in config.items() if key != "class"}
        scoring = settings["metadata"].get("scoring")
        if scoring is not None:
            with user_errors():
                scoring = check_scoring(scoring)
            settings["process_results"] = partial(settings["process_results"], scoring=scoring)
            settings["metric_list"] = [
                {"metric": metric, "aggregation": "mean", "higher_is_better": True}
                for metric in scoring
            ]
            settings["score_key"] = next(iter(scoring))
        super().__init__(config=settings, model_name=model_name)
        add_rows_to_results()

    def download(self, dataset_kwargs: Mapping[str, Any]) -> None:
        """Load the data; the host calls this once, when it builds the task."""
        with user_errors():
            source, folder = dataset_kwargs["source"], data_folder()
            if source == EASY_VQA:
                self._use(load_easy_vqa())
            elif folder is not None:
                self._take_from_files(source, folder, dataset_kwargs.get("answer_set"))
            else:
                self._take_from_hub(source, dataset_kwargs.get("answer_set"))

    def aggregation(self) -> dict[str, Callable[..., object]]:
        """Return the aggregation of each metric, and that of the scores by type."""
        return {**super().aggregation(), SCORES_BY_TYPE: average_by_type}

    def doc_to_visual(self, doc: Mapping[str, Any]) -> list[Image]:
        """Return the image of a document; one that cannot be read ends the run."""
        with user_errors():
            images: list[Image] = super().doc_to_visual(doc)
        return images

    def process_results(
        self,
        doc: Mapping[str, Any],
        results: Sequence[Any],
        full_docs: object = None,
    ) -> Mapping[str, Any]:
        """Return the scores of one document, without the host's retries, which cannot help here."""
        score = inspect.unwrap(ConfigurableTask.process_results)
        with user_errors():
            scores: Mapping[str, Any] = score(self, doc, results, full_docs)
        return scores

    def construct_requests(self, doc_id: int, ctx: str, **kwargs: object) -> Instance:
        """Return the request in the form of the model: messages, or text and images."""
        if self._model_is_simple():
            return ConfigurableTask.construct_requests(self, doc_id, ctx, **kwargs)
        return super().construct_requests(doc_id, ctx, **kwargs)

    def _model_is_simple(self) -> bool:
        """Whether the model on the command line is a simple one, which takes no messages."""
        arguments = getattr(self, "args", None)
        if arguments is None:
            return False
        from lmms_eval.models import get_model

        return bool(get_model(arguments.model, arguments.force_simple).is_simple)

    def _use(self, questions: Questions) -> None:
        """Build the data set of the questions. Images remain paths; none is opened yet."""
        split = datasets.Dataset.from_list(list(questions.records), features=FEATURES)
        name = self.config.test_split
        self.dataset = datasets.DatasetDict({name: split})
        self.dataset_no_image = datasets.DatasetDict({name: split.remove_columns("image")})
        self._record(
            origin=questions.origin,
            n_questions=len(split),
            n_left_out=questions.n_left_out,
            sha256=questions.sha256,
        )
        if questions.n_left_out:
            self._record(left_out_because=questions.reason)
            logger.warning(
                "%s: %s of %s questions are used; %s were left out because %s.",
                self.config.task,
                f"{len(split):,}",
                f"{len(split) + questions.n_left_out:,}",
                f"{questions.n_left_out:,}",
                questions.reason,
            )

    def _take_from_files(self, source: str, folder: Path, answer_set: str | None) -> None:
        """Load the data set from its official files."""
        raw = RAW if answer_set == RAW else None
        self._use(load_official(source, folder, strict=is_strict(), answer_set=raw))
        if answer_set is not None:
            # All of them: those of questions with an image may be too few for a detection.
            annotations = read_annotations(source, folder, raw) or {}
            self._check_answers(answer_set, [a.answers for a in annotations.values()])

    def _take_from_hub(self, source: str, answer_set: str | None) -> None:
        """Load the data set from the hub, or from the cache of an earlier run."""
        path = self.config.dataset_path
        revision, reason = _hub_revision(path)
        load = inspect.unwrap(ConfigurableTask.download)
        try:
            with without_hub(active=revision is None):
                load(self, {"revision": revision} if revision else None)
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            message = not_loaded_text(self.config.task, path, source, reason or error)
            raise DataError(message) from error
        split = self.dataset[self.config.test_split]
        missing = NEEDED_COLUMNS.difference(split.column_names)
        if missing:
            message = (
                f"The data set {path} has no column {', '.join(sorted(missing))}; it has "
                f"{', '.join(split.column_names)}. Set {DATA_VARIABLE} to use official files."
            )
            raise DataError(message)
        self._leave_images_encoded()
        self._record(origin=f"hub: {path}", n_questions=len(split), revision=revision)
        if answer_set is not None:
            column = split["answers"] if "answers" in split.column_names else ()
            self._check_answers(answer_set, [answers_of({"answers": one}) for one in column])

    def _leave_images_encoded(self) -> None:
        """Leave images to ``doc_to_visual``, which decodes them as it does official files."""
        for name, split in self.dataset.items():
            if isinstance(split.features.get("image"), datasets.Image):
                encoded = split.cast_column("image", datasets.Image(decode=False))
                self.dataset[name] = encoded

    def _check_answers(self, expected: str, answers: Sequence[Sequence[str]]) -> None:
        """Record the set of answers in the data; warn or raise if it is not the expected one."""
        found = detect_answer_set(answers)
        self._record(answer_set=found)
        if (expected, found) == (STEMMED, RAW):
            logger.warning(
                "%s: the answers are as people wrote them (%s). Published scores use the stemmed "
                "answers, which changes a score by up to about one point. Set %s to a folder with "
                "the official files, or run okvqa_raw, which uses the raw answers.",
                self.config.task,
                self.config.metadata["origin"],
                DATA_VARIABLE,
            )
        if (expected, found) == (RAW, STEMMED):
            message = (
                f"{self.config.task} needs the answers as people wrote them, but these are "
                f"stemmed ({self.config.metadata['origin']}). Run okvqa for stemmed answers."
            )
            raise DataError(message)

    def _record(self, **facts: object) -> None:
        self.config.metadata = {**self.config.metadata, **facts}


def _hub_revision(path: str) -> tuple[str | None, str]:
    """Return the commit of a data set on the hub; or ``None``, and why it is unknown."""
    from huggingface_hub import HfApi

    try:
        return HfApi().dataset_info(path, timeout=HUB_TIMEOUT_S).sha, ""
    except Exception as error:  # noqa: BLE001  (errors of whichever HTTP library the hub uses)
        return None, str(error).splitlines()[0] if str(error) else type(error).__name__
