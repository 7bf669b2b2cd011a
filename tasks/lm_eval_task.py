"""The VQA tasks in lm-eval, for its multimodal models.

lm-eval opens the images of all questions before it asks the first, and puts whole documents into
its samples file. Here an image is opened when a batch needs it, and documents have no image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

import datasets
from lm_eval import evaluator
from lm_eval.api.task import ConfigurableTask

from moe_eval_plugin.hosts.exit_codes import user_errors
from moe_eval_plugin.hosts.lm_eval.evaluation.result_rows import add_rows_to_results
from moe_eval_plugin.tasks.vqa import check_scoring, rows_of_scoring
from moe_eval_plugin.tasks.vqa_data import IMAGE, NOT_OF_THE_HOST, DataSource, load_data
from moe_eval_plugin.vqa.scores_by_type import SCORES_BY_TYPE, average_by_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from PIL.Image import Image

# Column with the number of a question's row, by which its image is found.
ROW = "row"


class VQATask(ConfigurableTask):
    """A VQA task whose YAML file names the source of its data in ``dataset_kwargs.source``.

    The keys of ``dataset_kwargs`` and ``metadata`` are those of the class of this name for
    lmms-eval. There are no few-shot examples: the host has one image for a prompt.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        settings = {key: value for key, value in config.items() if key not in NOT_OF_THE_HOST}
        self.training_split: str | None = config.get("training_split")
        self._scoring: dict[str, str] | None = None
        scoring = settings["metadata"].get("scoring")
        if scoring is not None:
            with user_errors():
                self._scoring = check_scoring(scoring)
            settings["metric_list"] = rows_of_scoring(self._scoring)
        super().__init__(config=settings)
        add_rows_to_results(evaluator)

    def download(self, dataset_kwargs: Mapping[str, Any], **_: object) -> None:
        """Load the data; the host calls this once, when it builds the task."""
        config = self.config
        with user_errors():
            data = load_data(DataSource.of_task(config, dataset_kwargs))
        self._rows = data.rows
        self.dataset = datasets.DatasetDict({config.test_split: _documents(data.rows)})
        config.metadata = {**config.metadata, **data.facts}

    def load_training_split(self) -> None:
        """Read the questions of the training split too."""
        config, split = self.config, str(self.training_split)
        with user_errors():
            source = DataSource.of_task(config, config.dataset_kwargs)
            rows = load_data(replace(source, split=split)).rows
        self.dataset[split] = _documents(rows, first=len(self._rows))
        self._rows = datasets.concatenate_datasets([self._rows, rows])

    def fewshot_docs(self) -> None:
        """Return no examples; the host would hold every document in memory for them."""

    def doc_to_image(self, doc: Mapping[str, Any], doc_to_image: object = None) -> Images:  # noqa: ARG002  (the host's signature)
        """Return the images of a document, which are opened when they are asked for."""
        return Images(self._rows, doc, self.config.doc_to_image)

    def aggregation(self) -> dict[str, Callable[..., object]]:
        """Return the aggregation of each metric, and that of the scores by type."""
        return {**super().aggregation(), SCORES_BY_TYPE: average_by_type}

    def process_results(self, doc: Mapping[str, Any], results: Sequence[Any]) -> Mapping[str, Any]:
        """Return the scores of one document, by each mode that the metadata name."""
        score = self.config.process_results
        # A text with --predict_only, which scores nothing.
        if not callable(score) or self._scoring is None:
            scores: Mapping[str, Any] = super().process_results(doc, results)
        else:
            scores = score(doc, results, scoring=self._scoring)
        return scores


def _documents(rows: datasets.Dataset, first: int = 0) -> datasets.Dataset:
    """Return rows without their images, numbered from ``first``."""
    return rows.remove_columns(IMAGE).add_column(ROW, range(first, first + len(rows)))


class Images(Sequence["Image"]):
    """The images of one question, opened each time that they are asked for.

    No list, so that the host writes its name into the samples file and does not hash its content.
    An image that cannot be read ends the run.
    """

    def __init__(
        self,
        rows: datasets.Dataset,
        doc: Mapping[str, Any],
        doc_to_image: Callable[[Mapping[str, Any]], list[Image]],
    ) -> None:
        self._rows = rows
        self._doc = doc
        self._doc_to_image = doc_to_image

    @overload
    def __getitem__(self, index: int) -> Image: ...

    @overload
    def __getitem__(self, index: slice) -> list[Image]: ...

    def __getitem__(self, index: int | slice) -> Image | list[Image]:
        return self._open()[index]

    def __iter__(self) -> Iterator[Image]:
        return iter(self._open())

    def __len__(self) -> int:
        return len(self._open())

    def __repr__(self) -> str:
        return f"image of question {self._doc['question_id']}"

    def _open(self) -> list[Image]:
        with user_errors():
            return self._doc_to_image({**self._doc, IMAGE: self._rows[self._doc[ROW]][IMAGE]})
