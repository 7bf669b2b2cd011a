"""What the YAML files name: how a question is asked, and how its answer is scored.

A document is a row of the data set, from official files or from the hub. It is never changed.
Functions take and return what lmms-eval hands over and expects, and import nothing of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.vqa.images import open_image
from moe_eval_plugin.vqa.scores_by_type import SCORES_BY_TYPE
from moe_eval_plugin.vqa.scoring import LMMS_VQAV2, scoring_mode, vqa_accuracy

if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterator, Sequence

    from PIL.Image import Image

Document = Mapping[str, Any]

VQA_ACCURACY = "vqa_accuracy"


class SampleScores(Mapping[str, object]):
    """The scores of one document, and what is logged beside them.

    lmms-eval sums up what ``items()`` lists, and makes a row of results of each; into the samples
    file it writes what ``keys()`` and indexing give. The two differ here: ``logged`` is nothing to
    sum up, like a question id, and ``unlogged`` only repeats what a sample has anyway.
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
        """List the scores alone."""
        return self.scores.items()

    def __getitem__(self, key: str) -> object:
        return self._all[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


def doc_to_visual(doc: Document) -> list[Image]:
    """Open the image of a question, as RGB.

    The official files give a path; the hub gives an image that is decoded already. Raises
    ``DataError`` for a file that cannot be read.
    """
    image = doc["image"]
    if isinstance(image, Mapping):
        return [open_image(image["path"], doc["question_id"])]
    return [image.convert("RGB")]


def doc_to_text(doc: Document, lmms_eval_specific_kwargs: Document | None = None) -> str:
    """Put the question between the prompt parts that the YAML file states."""
    parts = lmms_eval_specific_kwargs or {}
    return f"{parts.get('pre_prompt', '')}{doc['question']}{parts.get('post_prompt', '')}"


def doc_to_target(doc: Document) -> str:
    """Return the answer that most people gave, or nothing where the answers are not public."""
    answers = answers_of(doc)
    return Counter(answers).most_common(1)[0][0] if answers else ""


def answers_of(doc: Document) -> list[str]:
    """List the answers of a document: strings, or mappings with an ``answer``, or none at all."""
    return [
        answer["answer"] if isinstance(answer, Mapping) else answer
        for answer in doc.get("answers") or ()
    ]


def check_scoring(scoring: object) -> dict[str, str]:
    """Return ``metadata.scoring`` of a YAML file, which maps metrics to names of scoring modes.

    The first metric is the one that samples are compared by. Raises ``InvalidArgumentError`` for
    anything but a mapping, and for a mode that does not exist.
    """
    if isinstance(scoring, Mapping) and scoring:
        return {str(metric): scoring_mode(str(name)).name for metric, name in scoring.items()}
    message = (
        f"metadata.scoring is {scoring!r}, where a mapping of metrics to scoring modes was "
        f"expected, for instance {VQA_ACCURACY}: {LMMS_VQAV2.name}."
    )
    raise InvalidArgumentError(message)


def score_vqa(
    doc: Document, results: Sequence[str], scoring: Mapping[str, str] | None = None
) -> SampleScores:
    """Score an answer by VQA accuracy, from 0 to 1, once for each metric in ``scoring``."""
    scoring = scoring or {VQA_ACCURACY: LMMS_VQAV2.name}
    answers = answers_of(doc)
    scores = {
        metric: vqa_accuracy(results[0], answers, scoring_mode(name))
        for metric, name in scoring.items()
    }
    types = _types(doc)
    # Given for every question, of a known type or not: lmms-eval takes the number of questions of
    # the task from the metric that it meets last.
    typed = types.get("question_type", ""), types.get("answer_type", ""), scores
    first = next(iter(scores.values()))
    return SampleScores(scores, _logged(doc, first), {SCORES_BY_TYPE: typed})


def score_exact_match(doc: Document, results: Sequence[str]) -> SampleScores:
    """Score 1 where the answer is the expected one, else 0.

    Both are compared in lower case, stripped, and without a period at the end.
    """
    match = float(_plain(results[0]) == _plain(doc_to_target(doc)))
    return SampleScores({"exact_match": match}, _logged(doc, match))


def keep_submission(doc: Document, results: Sequence[str]) -> SampleScores:
    """Keep an answer whose score only the organisers can tell.

    The item of ``n_answered`` is the answer itself: lmms-eval would put an error bar on numbers.
    """
    answer = results[0].strip()
    submission = {"question_id": doc["question_id"], "answer": answer}
    return SampleScores({"n_answered": answer}, {"submission": submission})


def count_answered(items: Sequence[str]) -> int:
    """Count the answers that are not empty."""
    return sum(bool(item) for item in items)


def _plain(answer: str) -> str:
    return answer.strip().lower().removesuffix(".").rstrip()


def _types(doc: Document) -> dict[str, str]:
    """Return the types of a question that are known."""
    return {kind: doc[kind] for kind in ("question_type", "answer_type") if doc.get(kind)}


def _logged(doc: Document, score: float) -> dict[str, object]:
    """Name what is logged with a score. ``score`` itself is the key that ``--baseline`` reads."""
    return {
        "score": score,
        "question_id": doc["question_id"],
        "image_id": doc.get("image_id"),
        **_types(doc),
    }
