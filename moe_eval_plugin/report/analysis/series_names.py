"""Name the series of a report: by what distinguishes them, or by letters if there are several."""

from __future__ import annotations

import string
from dataclasses import dataclass
from itertools import product
from pathlib import PurePath
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Distinctions that may be others for each task of one model.
QUESTIONS = "{} questions"
CACHED = "{} answers from a cache"
INPUTS = "inputs prepared {}"
IMAGES = "images {}"
OF_A_TASK = (QUESTIONS, CACHED, INPUTS, IMAGES)


@dataclass(frozen=True)
class SeriesKey:
    """What runs of one series have in common."""

    task: str
    metric: str
    pretrained: str
    distinctions: tuple[tuple[str, str], ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The distinctions in words, in a fixed order; empty where not known."""
        return tuple(text for _, text in self.distinctions)

    @property
    def across_tasks(self) -> tuple[str, ...]:
        """What the series of one model have in common on several tasks."""
        words = (text for word, text in self.distinctions if word not in OF_A_TASK)
        return self.pretrained, *words


def series_name(key: SeriesKey, keys: Sequence[SeriesKey]) -> str:
    """Return the name of a series: its model, and what distinguishes it from others of it."""
    rivals = [other for other in keys if (other.task, other.metric) == (key.task, key.metric)]
    alike = [other.texts for other in rivals if other.pretrained == key.pretrained]
    differ = [len(set(texts)) > 1 for texts in zip(*alike, strict=True)]
    words = [text for text, differs in zip(key.texts, differ, strict=True) if text and differs]
    short = _short(key.pretrained)
    names = {other.pretrained for other in rivals if _short(other.pretrained) == short}
    return ", ".join([short if len(names) == 1 else key.pretrained, *words])


def series_ids(keys: Sequence[SeriesKey], labels: Mapping[str, str]) -> dict[SeriesKey, str]:
    """Return a letter for each series, the same on all tasks; empty where one would be enough.

    Raises ``InvalidArgumentError`` for a label of a letter that no series has, and for two labels
    that are the same.
    """
    ranks = {key: _rank(key, keys) for key in keys}
    groups = list(dict.fromkeys((key.across_tasks, ranks[key]) for key in keys))
    letters = dict(zip(groups, _letters(), strict=False))
    several = len(groups) > 1
    ids = {key: letters[key.across_tasks, ranks[key]] if several else "" for key in keys}
    known = sorted({one for one in ids.values() if one}, key=lambda one: (len(one), one))
    unknown = [letter for letter in labels if letter not in known]
    if unknown:
        message = (
            f"--label {unknown[0]}={labels[unknown[0]]}: there is no series {unknown[0]}. "
            + (f"Label one of {', '.join(known)}." if known else "A single series has no letter.")
        )
        raise InvalidArgumentError(message)
    if len(set(labels.values())) < len(labels):
        message = "--label has the same name for two series. Give each a name of its own."
        raise InvalidArgumentError(message)
    return ids


def _rank(key: SeriesKey, keys: Sequence[SeriesKey]) -> int:
    """Return how many series of its task before it differ only in what is of a task."""
    alike = [
        other
        for other in keys
        if (other.task, other.metric, other.across_tasks)
        == (key.task, key.metric, key.across_tasks)
    ]
    return alike.index(key)


def _letters() -> Iterator[str]:
    """Yield A to Z, then AA, AB, ..."""
    for length in (1, 2):
        yield from map("".join, product(string.ascii_uppercase, repeat=length))


def _short(pretrained: str) -> str:
    """Return a model without the folders of its path on this machine."""
    return pretrained if pretrained.count("/") == 1 else PurePath(pretrained).name or pretrained
