"""Key lm-eval's cache of answers (``--use_cache``), and count what comes from it.

The host's keys hold the text of a question and its generation arguments, but neither the model nor
k: a run at another k would get the answers of the first. Before its keys we put a digest of
everything that our models' answers depend on. Other models keep the host's keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.files import short_digest
from moe_eval_plugin.hosts.foreign_models import gather
from moe_eval_plugin.hosts.replacement import replaced
from moe_eval_plugin.measure.hardware_use import HardwareUse
from moe_eval_plugin.measure.speed import TaskSpeed
from moe_eval_plugin.results.record import RunRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping

HOST = "lm-eval"
KINDS = ("loglikelihood", "loglikelihood_rolling", "generate_until")
# Attribute of a cache of ours.
COUNTS = "moe_eval_counts"
# Of questions that were neither observed nor timed.
NO_SPEED = TaskSpeed(0, None, None, 0.0)


class OurModel(Protocol):
    """A model of the host that knows what its answers depend on."""

    world_size: int

    def answer_settings(self) -> dict[str, Any]:
        """Return what all answers depend on."""

    def unasked_record(self, task: str) -> RunRecord:
        """Return the record of a task whose answers all came from a cache."""


class KeyedAnswers:
    """The host's table of answers, for the answers of one model alone."""

    def __init__(self, answers: Any, settings: Mapping[str, Any]) -> None:  # noqa: ANN401  (the host's)
        self._answers = answers
        self._digest = short_digest(settings)

    def __contains__(self, key: str) -> bool:
        return self._own(key) in self._answers

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401  (a text, or a score)
        return self._answers[self._own(key)]

    def __setitem__(self, key: str, answer: Any) -> None:  # noqa: ANN401  (as above)
        self._answers[self._own(key)] = answer

    def commit(self) -> None:
        """Write what was stored to the disk."""
        self._answers.commit()

    def _own(self, key: str) -> str:
        return f"{self._digest} {key}"


def refuse_unkeyed(answers: object) -> None:
    """Raise ``InvalidArgumentError`` for a cache whose keys do not hold the model and its k.

    ``answers`` is the table of a cache hook, ``None`` without a cache.
    """
    if answers is not None and not isinstance(answers, KeyedAnswers):
        message = (
            "This cache finds answers by the text of a question alone, so they may be those of "
            "another model or of another k. Pass use_cache to lm_eval.simple_evaluate, or "
            "--use_cache to `moe-eval lm-eval run`, and wrap the model in no CachingLM."
        )
        raise InvalidArgumentError(message)


def key_images(model: Any) -> None:  # noqa: ANN401  (a module)
    """Make ``lm_eval.api.model`` key images that are opened when they are asked for.

    It keys those in a list by their content, and refuses any other sequence.
    """
    original = getattr(model, "_multimodal_cache_default", None)
    if original is None or hasattr(original, "_moe_eval_images"):
        return

    def default(obj: object) -> Any:  # noqa: ANN401  (what the host's own returns)
        if isinstance(obj, Sequence) and not isinstance(obj, bytes | bytearray):
            return list(obj)
        return original(obj)

    default._moe_eval_images = True  # type: ignore[attr-defined]  # noqa: SLF001
    model._multimodal_cache_default = default  # noqa: SLF001


def key_caches(model: Any) -> None:  # noqa: ANN401  (a module)
    """Replace ``CachingLM`` in ``lm_eval.api.model``, where the host looks for it."""
    key_images(model)
    original: Any = getattr(model, "CachingLM", None)
    if original is None or COUNTS in getattr(original, "__annotations__", ()):
        return

    class CachingLM(original):
        """The host's cache; that of our models is keyed, and what comes from it is counted."""

        moe_eval_counts: CacheCounts
        dbdict: Any

        def __init__(self, lm: Any, cache_db: str) -> None:  # noqa: ANN401  (a model of the host)
            # The host opens the table, and passes it to the model with `get_cache_hook`.
            self._moe_eval_lm = lm
            self.moe_eval_counts = CacheCounts(lm)
            super().__init__(lm, cache_db)

        def get_cache_hook(self) -> Any:  # noqa: ANN401  (the host's)
            is_ours = hasattr(self._moe_eval_lm, "answer_settings")
            if is_ours and not isinstance(self.dbdict, KeyedAnswers):
                self.dbdict = KeyedAnswers(self.dbdict, self._moe_eval_lm.answer_settings())
            return super().get_cache_hook()

        def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (as above)
            found = super().__getattr__(name)
            return self.moe_eval_counts.counting(name, found) if name in KINDS else found

    model.CachingLM = CachingLM


class CacheCounts:
    """Counts the questions of which a cache answered at least one request."""

    def __init__(self, lm: Any) -> None:  # noqa: ANN401  (a model of the host)
        self._lm = lm
        self._questions: dict[str, set[Hashable]] = {}
        self._unasked: dict[str, RunRecord] = {}

    def counting(self, kind: str, answer: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
        """Return a method of the cache that also notes which requests the model did not get."""

        def counted(requests: list[Any]) -> list[Any]:
            with self._asked(kind) as asked:
                answers = answer(requests)
            for request in requests:
                if id(request) not in asked:
                    self._questions.setdefault(request.task_name, set()).add(request.doc_id)
            return answers

        return counted

    def complete(
        self, records: Mapping[str, RunRecord], n_ranks: int
    ) -> tuple[dict[str, RunRecord], dict[str, set[Hashable]]]:
        """Return the records with what came from the cache, and the questions of each task.

        All processes must call it. A task of which the cache answered a question has no speed: the
        questions that the model got are others than those of a whole run.
        """
        ranks = gather(self._questions) if n_ranks > 1 else [self._questions]
        tasks = dict.fromkeys(task for rank in ranks for task in rank)
        found = {task: set().union(*(rank.get(task, ()) for rank in ranks)) for task in tasks}
        known = {task: self._unasked_record(task) for task in found if task not in records}
        counted = {
            task: _with_cached(record, len(found.get(task, ())))
            for task, record in {**known, **records}.items()
        }
        return counted, found

    @contextmanager
    def _asked(self, kind: str) -> Iterator[set[int]]:
        """Note the identities of the requests that reach the model while the block runs."""
        method, asked = getattr(self._lm, kind), set[int]()

        def noting(requests: Sequence[Any], **how: Any) -> Any:  # noqa: ANN401  (the host's)
            asked.update(map(id, requests))
            return method(requests, **how)

        with replaced(self._lm, kind, noting):
            yield asked

    def _unasked_record(self, task: str) -> RunRecord:
        if hasattr(self._lm, "unasked_record"):
            record: RunRecord = self._lm.unasked_record(task)
            return record
        return RunRecord(
            task, None, NO_SPEED, {"host": HOST, "model_class": type(self._lm).__name__}
        )


def _with_cached(record: RunRecord, n_cached: int) -> RunRecord:
    if not n_cached:
        return replace(record, n_answers_from_cache=0)
    return replace(
        record,
        speed=NO_SPEED,
        hardware=HardwareUse(),
        answers=None,
        n_answers_from_cache=n_cached,
    )
