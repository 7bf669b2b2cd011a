"""Jobs about a few images, several for each, and the runs that answer them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easy_vqa import get_test_image_paths, get_test_questions
from PIL import Image

from moe_eval_plugin.engines.generation import read_settings
from moe_eval_plugin.engines.request import Job, QuestionCounter
from moe_eval_plugin.engines.transformers.batches.batch_runner import BatchRunner
from moe_eval_plugin.measure.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moe_eval_plugin.engines.request import Generated
    from moe_eval_plugin.engines.transformers.batches.batch_runner import BatchStore
    from moe_eval_plugin.engines.transformers.batches.sharing_plan import SharingPlan
    from moe_eval_plugin.engines.transformers.engine import HFEngine
    from moe_eval_plugin.measure.timing import BatchTiming

INSTRUCTION = "\nAnswer the question using a single word or phrase."
TASK = "easy_vqa"


def picture(number: int, size: tuple[int, int] | None = None) -> Image.Image:
    with Image.open(get_test_image_paths()[number]) as image:
        return image.convert("RGB") if size is None else image.convert("RGB").resize(size)


def questions(n_images: int, most: int = 4) -> list[tuple[int, str]]:
    """List the number of an image and a question about it, for a few images."""
    rows = sorted(zip(get_test_questions()[2], get_test_questions()[0], strict=True))
    numbers = list(dict.fromkeys(number for number, _ in rows))[:n_images]
    of_images = ([row for row in rows if row[0] == number][:most] for number in numbers)
    return [row for mine in of_images for row in mine]


def conversation(images: Sequence[Any], text: str, system: str = "") -> list[dict[str, Any]]:
    parts = [{"type": "image", "image": image} for image in images]
    content = [*parts, {"type": "text", "text": text + INSTRUCTION}]
    before = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
    return [*before, {"role": "user", "content": content}]


def job(
    index: int, built: list[dict[str, Any]], key: object = None, task: str = TASK, **settings: Any
) -> Job:
    chosen = read_settings({"max_new_tokens": 4, "until": ["\n\n"], **settings}, 8)
    text = built[-1]["content"][-1].get("text", "")
    return Job(index, task, index, text, lambda: built, chosen, read_image_key=lambda: key)  # type: ignore[arg-type,return-value]


def image_jobs(n_images: int, most: int = 4, **settings: Any) -> list[Job]:
    return [
        job(index, conversation([picture(number)], text), number, **settings)
        for index, (number, text) in enumerate(questions(n_images, most))
    ]


class Listener:
    """A listener that keeps what is refused, and the batches."""

    def __init__(self) -> None:
        self.refused: list[int] = []
        self.batches: list[BatchTiming] = []

    def refuse(self, one: Job, _reason: str) -> None:
        self.refused.append(one.index)

    def not_finite(self, one: Job) -> None:
        raise AssertionError(one.describe())

    def request_failed(self, _task: str) -> None:
        """Do nothing."""

    def batch_end(self, timing: BatchTiming, _n_requests: int) -> bool:
        self.batches.append(timing)
        return False


def answered(
    engine: HFEngine,
    jobs: Sequence[Job],
    sharing: SharingPlan | None,
    batch_size: int = 16,
    listener: Listener | None = None,
    store: BatchStore | None = None,
) -> dict[int, Generated]:
    heard = listener or Listener()
    runner = BatchRunner(
        engine,
        Stopwatch(lambda: None, None),
        heard,
        lambda timing, n: heard.batch_end(timing, n) and None,
        QuestionCounter(jobs),
        overlaps=False,
        store=store,
        sharing=sharing,
    )
    return runner.run(jobs, batch_size).answers
