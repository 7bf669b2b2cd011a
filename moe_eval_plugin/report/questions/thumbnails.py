"""Find the images of questions on this machine, and embed them as small pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import UserError
from moe_eval_plugin.vqa.dataset import DATA_VARIABLE, data_folder, load_easy_vqa, without_hub
from moe_eval_plugin.vqa.images import open_image
from moe_eval_plugin.vqa.official_data import load_official
from moe_eval_plugin.vqa.official_files import OFFICIAL_FILES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from moe_eval_plugin.report.series import FinishedTask
    from moe_eval_plugin.results.run import TaskData

EASY_VQA = "easy_vqa"
# In pixels: while less than half of the budget is used up, and after that.
LONGEST_SIDE = 400
LONGEST_SIDE_LATER = 160
QUALITY = 60
# All pictures of a page together, as text. With the rest of the page they stay below 10 MB.
BUDGET_BYTES = 6_000_000


@dataclass(frozen=True)
class ImageSource:
    """The records of a task's questions by their ids; ``reason`` says why there are none.

    A record has its ``question``, and as ``image`` the path of a file. Without such a file it has
    the ``content`` in bytes too.
    """

    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reason: str = ""


def find_images(run: FinishedTask) -> ImageSource:
    """Return the questions of a task with their images, as far as this machine has them.

    Sources are the package easy-vqa, official files, and the copy of the Hub's data that a run
    left. Missing or broken data is no error but a reason, since a report can do without images.
    """
    source = run.task.data.source or ""
    try:
        if source == EASY_VQA:
            questions = load_easy_vqa()
        elif source not in OFFICIAL_FILES:
            return ImageSource(
                reason=f"the images of {run.facts.task} are not known to this package"
            )
        else:
            folder = data_folder()
            if folder is None:
                return _of_the_hub(run.task.data)
            questions = load_official(source, folder)
    except UserError as error:
        return ImageSource(reason=str(error))
    return ImageSource({str(one["question_id"]): one for one in questions.records})


def _of_the_hub(data: TaskData) -> ImageSource:
    import datasets

    try:
        with without_hub():
            split = datasets.load_dataset(data.dataset, split=data.split, revision=data.revision)
        return ImageSource(_HubRecords(split))
    except (OSError, ValueError, KeyError, TypeError, datasets.exceptions.DatasetsError):
        reason = (
            f"{DATA_VARIABLE} is not a folder with the official files, and this machine has no "
            f"copy of {data.dataset} from the Hub"
        )
        return ImageSource(reason=reason)


class _HubRecords(Mapping[str, Mapping[str, Any]]):
    """The rows of a dataset of the Hub by the ids of their questions, read one by one."""

    def __init__(self, split: Any) -> None:  # noqa: ANN401  (a Dataset of datasets)
        import datasets

        self._rows = {str(key): row for row, key in enumerate(split["question_id"])}
        self._split = split.cast_column("image", datasets.Image(decode=False))

    def __getitem__(self, key: str) -> Mapping[str, Any]:
        row = self._split[self._rows[key]]
        image = row["image"]
        # Questions about one image share its path; without one each has an image of its own.
        name = image["path"] or f"question {key}"
        return {"question": row["question"], "image": name, "content": image["bytes"]}

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


class Album:
    """Pictures for a page, as data URLs; each file is read once, until the budget is used up."""

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self.pictures: list[str] = []
        self._numbers: dict[str, int | None] = {}
        self._budget_bytes = budget_bytes
        self._free_bytes = budget_bytes

    @property
    def n_left_out(self) -> int:
        """Number of requested files without a picture: beyond the budget, or not readable."""
        return sum(number is None for number in self._numbers.values())

    def add(self, source: ImageSource, key: str, prompt: str) -> int | None:
        """Return the number of a question's picture; ``None`` where there is none.

        The data on this machine may differ from those of the run, so the question has to agree.
        """
        record = source.records.get(key)
        if record is None or record["question"] not in prompt:
            return None
        path = record["image"]
        if path not in self._numbers:
            content = record.get("content")
            self._numbers[path] = self._take(io.BytesIO(content) if content else path, key)
        return self._numbers[path]

    def _take(self, path: str | BinaryIO, key: str) -> int | None:
        if self._free_bytes <= 0:
            return None
        is_early = self._free_bytes > self._budget_bytes / 2
        side = LONGEST_SIDE if is_early else LONGEST_SIDE_LATER
        try:
            picture = thumbnail(path, key, side)
        except UserError:
            return None
        if len(picture) > self._free_bytes:
            self._free_bytes = 0
            return None
        self._free_bytes -= len(picture)
        self.pictures.append(picture)
        return len(self.pictures) - 1


def thumbnail(path: str | BinaryIO, question_id: str, side: int = LONGEST_SIDE) -> str:
    """Return a WebP picture of a file as a data URL, with at most ``side`` pixels on each side.

    Raises ``DataError`` if the file cannot be read.
    """
    image = open_image(path, question_id)
    image.thumbnail((side, side))
    small = io.BytesIO()
    image.save(small, "WEBP", quality=QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(small.getvalue()).decode('ascii')}"


def describe_absence(sources: Iterable[ImageSource]) -> list[str]:
    """Return a sentence for each reason why questions have no image."""
    reasons = dict.fromkeys(source.reason for source in sources if source.reason)
    return [f"Shown without images: {reason.rstrip('.')}." for reason in reasons]
