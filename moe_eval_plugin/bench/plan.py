"""The plan of a bench: workloads, settings and their order, as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import InvalidArgumentError
from moe_eval_plugin.experts.description import halves
from moe_eval_plugin.experts.schedules.schedule import constant_schedule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.experts.description import MoEDescription

LEAST_REPEATS = 3
LEAST_NEW_TOKENS = 2
LEAST_IMAGE_SIDE = 16


@dataclass(frozen=True)
class ImagePlan:
    """The images before the text of each prompt: random ones of a size, or files.

    ``size`` is (width, height) in pixels. Each of ``files`` is shown once per prompt.
    """

    n_images: int = 0
    size: tuple[int, int] = (448, 448)
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.n_images < 0 or min(self.size) < LEAST_IMAGE_SIDE:
            message = (
                f"{self.n_images} images of {self.size[0]}x{self.size[1]} pixels are not possible. "
                f"Use 0 or more, with sides of {LEAST_IMAGE_SIDE} pixels or more."
            )
            raise InvalidArgumentError(message)
        if self.files and self.n_images not in {0, len(self.files)}:
            message = (
                f"{len(self.files)} image files were given, but {self.n_images} images requested. "
                "Leave the number out: each file is shown once per prompt."
            )
            raise InvalidArgumentError(message)

    @property
    def count(self) -> int:
        """Images in each prompt."""
        return len(self.files) or self.n_images


@dataclass(frozen=True)
class Workload:
    """One generation: sequences in the batch, text tokens in each prompt, new tokens of each."""

    batch_size: int
    prompt_tokens: int
    new_tokens: int


@dataclass(frozen=True)
class BenchPlan:
    """Each k at each batch size, several times over.

    Raises ``InvalidArgumentError`` for what cannot be measured.
    """

    experts_k: tuple[int | None, ...] = (None,)
    """The k to compare, in this order; ``None`` leaves the model as it is."""
    batch_sizes: tuple[int, ...] = (1, 4, 16)
    """Sequences in a batch, sorted upwards."""
    prompt_tokens: int = 128
    """Text tokens of each prompt; the tokens of its images come on top."""
    new_tokens: int = 128
    """Tokens to generate for each sequence."""
    repeats: int = LEAST_REPEATS
    """Timed rounds, without the warm-up."""
    images: ImagePlan = field(default_factory=ImagePlan)
    """Images before the text of each prompt."""
    seed: int = 0
    """Seed of the prompts."""

    def __post_init__(self) -> None:
        _check_list("experts_k", self.experts_k)
        _check_list("batch_sizes", self.batch_sizes)
        _check_least("prompt_tokens", self.prompt_tokens, 1)
        # The first token belongs to the prompt's time: only those behind it are decoded.
        _check_least("new_tokens", self.new_tokens, LEAST_NEW_TOKENS)
        _check_least("repeats", self.repeats, LEAST_REPEATS)
        # A series ends at the first batch that does not fit, so it has to grow.
        object.__setattr__(self, "batch_sizes", tuple(sorted(self.batch_sizes)))

    def workload(self, batch_size: int) -> Workload:
        """Return the workload of a batch size."""
        return Workload(batch_size, self.prompt_tokens, self.new_tokens)

    @property
    def n_steps(self) -> int:
        """Generations in all: an observation, a warm-up and the repeats of each setting."""
        return len(self.experts_k) * len(self.batch_sizes) * (2 + self.repeats)

    def settings(self) -> Iterator[BenchSetting]:
        """Yield each setting, in the order of observation."""
        for k in self.experts_k:
            for batch_size in self.batch_sizes:
                yield BenchSetting(k, batch_size)

    def for_model(self, description: MoEDescription) -> BenchPlan:
        """Return the plan for a model: without any k, it compares the published k and its halves.

        Raises ``InvalidExpertCountError`` for a k that the model cannot use.
        """
        ks = self.experts_k
        has_k = description.is_moe and description.fixed_k_reason is None
        if ks == (None,) and has_k:
            ks = halves(description.num_experts_per_tok, description.min_num_experts_per_tok)
        for k in ks:
            if k is not None:
                constant_schedule(k).resolve(description)
        return replace(self, experts_k=ks)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain data, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, order=True)
class BenchSetting:
    """One k at one batch size; ``experts_k`` is ``None`` for a model as it is."""

    experts_k: int | None
    batch_size: int

    def __str__(self) -> str:
        k = "" if self.experts_k is None else f"k={self.experts_k}, "
        return f"{k}batch {self.batch_size}"


def _check_list(name: str, values: tuple[int | None, ...]) -> None:
    given = " ".join(map(str, values)) or "nothing"
    wrong = any(value is not None and value < 1 for value in values)
    if not values or wrong or len(set(values)) < len(values):
        message = f"{name}={given} is not possible. Use one or more different numbers from 1."
        raise InvalidArgumentError(message)


def _check_least(name: str, value: int, least: int) -> None:
    if value < least:
        message = f"{name}={value} is not possible. Use {least} or more."
        raise InvalidArgumentError(message)
