"""The VQA tasks in lmms-eval, for chat and simple models.

lmms-eval tries five times to load data and to score an answer, whatever the error, and shows its
traceback. Here an error ends the run with one message.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import datasets
from lmms_eval.api.task import ConfigurableMessagesTask, ConfigurableTask

from moe_eval_plugin.hosts.exit_codes import user_errors
from moe_eval_plugin.hosts.lmms_eval.result_rows import add_rows_to_results
from moe_eval_plugin.tasks.vqa import check_scoring, rows_of_scoring
from moe_eval_plugin.tasks.vqa_data import IMAGE, NOT_OF_THE_HOST, DataSource, load_data
from moe_eval_plugin.vqa.scores_by_type import SCORES_BY_TYPE, average_by_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lmms_eval.api.instance import Instance
    from PIL.Image import Image


class VQATask(ConfigurableMessagesTask):
    """A VQA task whose YAML file names the source of its data in ``dataset_kwargs.source``.

    The source is ``easy_vqa`` (the package) or a key of ``OFFICIAL_FILES``: official files if
    ``MOE_EVAL_DATA`` is set, else the hub. ``metadata.scoring`` maps each metric to the name of a
    scoring mode, which decides the rows of the results; runs are compared by the first metric.
    ``dataset_kwargs.answer_set`` is the expected set of answers, ``stemmed`` or ``raw``, where the
    data set has both. The origin of the data and the number of questions left out are added to the
    metadata, and so to the results. ``training_split`` names the questions for training, which no
    evaluation reads.
    """

    def __init__(self, config: Mapping[str, Any], model_name: str | None = None) -> None:
        settings = {key: value for key, value in config.items() if key not in NOT_OF_THE_HOST}
        self.training_split: str | None = config.get("training_split")
        scoring = settings["metadata"].get("scoring")
        if scoring is not None:
            with user_errors():
                scoring = check_scoring(scoring)
            settings["process_results"] = partial(settings["process_results"], scoring=scoring)
            settings["metric_list"] = rows_of_scoring(scoring)
            settings["score_key"] = next(iter(scoring))
        super().__init__(config=settings, model_name=model_name)
        add_rows_to_results()

    def download(self, dataset_kwargs: Mapping[str, Any]) -> None:
        """Load the data; the host calls this once, when it builds the task."""
        config = self.config
        with user_errors():
            data = load_data(DataSource.of_task(config, dataset_kwargs))
        rows = data.rows if config.process_docs is None else config.process_docs(data.rows)
        self.dataset = datasets.DatasetDict({config.test_split: rows})
        self.dataset_no_image = datasets.DatasetDict(
            {config.test_split: rows.remove_columns(IMAGE)}
        )
        config.metadata = {**config.metadata, **data.facts}

    def load_training_split(self) -> None:
        """Read the questions of the training split too."""
        config, split = self.config, str(self.training_split)
        with user_errors():
            source = DataSource.of_task(config, config.dataset_kwargs)
            rows = load_data(replace(source, split=split)).rows
        rows = rows if config.process_docs is None else config.process_docs(rows)
        self.dataset[split] = rows
        self.dataset_no_image[split] = rows.remove_columns(IMAGE)

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
