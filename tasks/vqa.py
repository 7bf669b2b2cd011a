"""Functions that the YAML files name: build prompts and score answers.

A document is a row of the data set, from official files or from the hub. It is never changed.
Arguments and results have the types that the hosts share; nothing of a host is imported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError, InvalidArgumentError, UnreadableImageError
from moe_eval_plugin.results.files import failure_in
from moe_eval_plugin.vqa.images import as_rgb, open_image
from moe_eval_plugin.vqa.scores_by_type import SCORES_BY_TYPE
from moe_eval_plugin.vqa.scoring import LMMS_VQAV2, OFFICIAL, scoring_mode, vqa_accuracy

if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterator, Sequence

    from PIL.Image import Image

Document = Mapping[str, Any]

VQA_ACCURACY = "vqa_accuracy"


class SampleScores(Mapping[str, object]):
    """The scores of one document, and further values for the samples file.

    The hosts aggregate what ``items()`` lists into a row of results each, and write what
    ``keys()`` and indexing return into the samples file. The two differ here: ``logged`` values,
    like a question id, are not aggregated, and ``unlogged`` ones only repeat what a sample has.
    """

    def __init__(
        self,
        scores: Mapping[str, object],
        logged: Mapping[str, object],
        unlogged: Mapping[str, object] | None = None,
    ) -> None:
        self.scores = {**scores, **(unlogged or {})}
        self._all = {**logged, **scores}

    def items(self) -> ItemsView[str, object]:
        """Return the scores alone."""
        return self.scores.items()

    def __getitem__(self, key: str) -> object:
        return self._all[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


def doc_to_visual(doc: Document) -> list[Image]:
    """Return the image of a question, upright and as RGB.

    Official files have a path, data of the hub the content of a file. Raises ``DataError`` for an
    image that is missing or cannot be read.
    """
    image, question_id = doc["image"], doc["question_id"]
    if isinstance(image, Mapping):
        path, content = image.get("path"), image.get("bytes")
        if content:
            name = path or "The file in the data set"
            return [open_image(BytesIO(content), question_id, name)]
        if path:
            return [open_image(path, question_id)]
    elif image is not None:
        try:
            return [as_rgb(image)]
        except UnreadableImageError as error:
            message = f"The image of question {question_id} cannot be used: {error}."
            raise DataError(message) from error
    message = f"Question {question_id} has no image. Leave it out of the data, or add its image."
    raise DataError(message)


def doc_to_text(doc: Document, lmms_eval_specific_kwargs: Document | None = None) -> str:
    """Return the question between the prompt parts of the YAML file."""
    parts = lmms_eval_specific_kwargs or {}
    return f"{parts.get('pre_prompt', '')}{doc['question']}{parts.get('post_prompt', '')}"


def doc_to_target(doc: Document) -> str:
    """Return the most frequent answer; empty if the answers are not public."""
    answers = answers_of(doc)
    return Counter(answers).most_common(1)[0][0] if answers else ""


def answers_of(doc: Document) -> list[str]:
    """List the answers of a document, which are strings or mappings with an ``answer``."""
    return [
        answer["answer"] if isinstance(answer, Mapping) else answer
        for answer in doc.get("answers") or ()
    ]


def check_scoring(scoring: object) -> dict[str, str]:
    """Return ``metadata.scoring`` of a YAML file, a mapping of metrics to scoring modes.

    Samples are compared by the first metric. Raises ``InvalidArgumentError`` for anything but a
    mapping, and for an unknown mode.
    """
    if isinstance(scoring, Mapping) and scoring:
        return {str(metric): scoring_mode(str(name)).name for metric, name in scoring.items()}
    message = (
        f"metadata.scoring is {scoring!r}. Use a mapping of metrics to scoring modes, for instance "
        f"{VQA_ACCURACY}: {LMMS_VQAV2.name}."
    )
    raise InvalidArgumentError(message)


def rows_of_scoring(scoring: Mapping[str, str]) -> list[dict[str, object]]:
    """List the metrics of a scoring as the hosts write them: means, the higher the better."""
    return [
        {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in scoring
    ]


def score_vqa(
    doc: Document, results: Sequence[str | None], scoring: Mapping[str, str] | None = None
) -> SampleScores:
    """Return the VQA accuracy of an answer, from 0 to 1, for each metric in ``scoring``."""
    scoring = scoring or {VQA_ACCURACY: LMMS_VQAV2.name}
    answers = answers_of(doc)
    scores = {
        metric: vqa_accuracy(_answer(results), answers, scoring_mode(name))
        for metric, name in scoring.items()
    }
    types = _types(doc)
    # For every question, of a known type or not: the hosts take the number of questions of a task
    # from its metrics.
    typed = types.get("question_type", ""), types.get("answer_type", ""), scores
    first = next(iter(scores.values()))
    return SampleScores(scores, _logged(doc, first), {SCORES_BY_TYPE: typed})


def vqa_scores(doc: Document, results: Sequence[str | None]) -> dict[str, float]:
    """Return the VQA accuracies of an answer, for a task of one's own in either host.

    ``doc`` has ``answers``, of about ten people: strings, or mappings with an ``answer``.
    """
    modes = {VQA_ACCURACY: LMMS_VQAV2, f"{VQA_ACCURACY}_official": OFFICIAL}
    answers = answers_of(doc)
    return {metric: vqa_accuracy(_answer(results), answers, mode) for metric, mode in modes.items()}


def score_exact_match(doc: Document, results: Sequence[str | None]) -> SampleScores:
    """Return 1 if the answer is the expected one, else 0.

    Both are compared in lower case, stripped, and without a final period.
    """
    match = float(_plain(_answer(results)) == _plain(doc_to_target(doc)))
    return SampleScores({"exact_match": match}, _logged(doc, match))


def keep_submission(doc: Document, results: Sequence[str | None]) -> SampleScores:
    """Return an answer to submit, which only the organisers can score.

    ``n_answered`` is the answer itself: lmms-eval would add an error bar to numbers.
    """
    answer = _answer(results).strip()
    submission = {"question_id": doc["question_id"], "answer": answer}
    return SampleScores({"n_answered": answer}, {"submission": submission})


def count_answered(items: Sequence[str]) -> int:
    """Return the number of answers that are not empty, and no messages about failed requests."""
    return sum(bool(item) and failure_in(item) is None for item in items)


def _answer(results: Sequence[str | None]) -> str:
    """Return the answer of a model; a server may have returned none."""
    return results[0] or ""


def _plain(answer: str) -> str:
    return answer.strip().lower().removesuffix(".").rstrip()


def _types(doc: Document) -> dict[str, str]:
    """Return the known types of a question."""
    return {key: doc[key] for key in ("question_type", "answer_type") if doc.get(key)}


def _logged(doc: Document, score: float) -> dict[str, object]:
    """Return what is logged with a score; ``--baseline`` of lmms-eval reads the key ``score``."""
    return {
        "score": score,
        "question_id": doc["question_id"],
        "image_id": doc.get("image_id"),
        **_types(doc),
    }
