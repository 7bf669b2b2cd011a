"""Run lmms-eval's own command with a clock around the model's requests; for ``overhead.py``.

Run ``python benchmarks/timed_lmms_eval.py REPORT [options] -- OPTIONS OF LMMS-EVAL``. The clock is
set from outside, in the same way for every model: around the method that the host calls with all
requests, and, where the model has one, around its verification pass, which is reported apart.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PROFILES = ("off", "basic")
N_IN_TURN = 96


@dataclass
class Times:
    """Seconds of wall time, and of processor time over all threads."""

    wall_s: float = 0.0
    cpu_s: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Add what the block takes."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall_s += time.perf_counter() - wall
        self.cpu_s += time.process_time() - cpu

    def restart(self) -> None:
        """Forget what was added."""
        self.wall_s = self.cpu_s = 0.0

    def without(self, part: Times) -> dict[str, float]:
        """Return these times minus those of a part of them."""
        return {"wall_s": self.wall_s - part.wall_s, "cpu_s": self.cpu_s - part.cpu_s}


@dataclass
class Inputs:
    """Digests of all prompts and images that ``generate`` was given, whatever their order."""

    prompts: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    is_on: bool = True

    def add(self, tensors: dict[str, Any]) -> None:
        """Add the rows of a batch, without padding, and its images one by one."""
        if not self.is_on:
            return
        rows = zip(tensors["input_ids"], tensors["attention_mask"], strict=True)
        self.prompts += [_digest(ids[mask.bool()]) for ids, mask in rows]
        sizes = tensors["image_grid_thw"].prod(-1).tolist()
        self.images += [_digest(image) for image in tensors["pixel_values"].split(sizes)]

    def to_dict(self) -> dict[str, Any]:
        """Return one digest of all prompts and one of all images, with their counts."""
        return {"prompts": _summary(self.prompts), "images": _summary(self.images)}


def watch(model_class: type, report: Path, inputs: Inputs | None, n_alternations: int) -> None:
    """Wrap the methods of a model class; the report is written when the requests are answered."""
    answer: Callable[..., Any] = model_class.generate_until  # type: ignore[attr-defined]
    verification, generation = Times(), Times()
    _watch_generation(generation)
    if hasattr(model_class, "_verify"):
        watched = _watch_verification(model_class._verify, (verification, generation), inputs)  # noqa: SLF001
        model_class._verify = watched  # noqa: SLF001

    @functools.wraps(answer)
    def timed(self: Any, requests: Sequence[Any]) -> Any:  # noqa: ANN401
        once = functools.partial(_time_once, answer, self, verification)
        if n_alternations:
            once(requests[:N_IN_TURN])
        rounds = [_alternate_profiles(once, self, requests, i) for i in range(n_alternations)]
        generation.restart()
        took, answers = once(requests)
        record = {
            "requests": took,
            "verification": vars(verification),
            "generation": vars(generation),
            "inputs": inputs.to_dict() if inputs else None,
            "profiles": rounds,
        }
        report.write_text(json.dumps(record), encoding="utf-8")
        return answers

    model_class.generate_until = timed  # type: ignore[attr-defined]


def _alternate_profiles(
    once: Callable[[Sequence[Any]], tuple[dict[str, float], Any]],
    model: Any,  # noqa: ANN401  (moe_hf, which is not imported here)
    requests: Sequence[Any],
    first: int,
) -> dict[str, dict[str, float]]:
    """Answer all requests with each profile, a few at a time in turn: the machine's pace drifts.

    ``first`` says which profile begins: over an even number of rounds each is first equally often.
    """
    totals = {profile: {"wall_s": 0.0, "cpu_s": 0.0} for profile in PROFILES}
    for number, begin in enumerate(range(0, len(requests), N_IN_TURN), start=first):
        for profile in PROFILES if number % 2 else PROFILES[::-1]:
            model.options = replace(model.options, profile=profile)
            part = requests[begin : begin + N_IN_TURN]
            for name, seconds in once(part)[0].items():
                totals[profile][name] += seconds
    return totals


def _time_once(
    answer: Callable[..., Any], model: object, verification: Times, requests: Sequence[Any]
) -> tuple[dict[str, float], Any]:
    """Answer all requests; give the times without verification, and the answers."""
    verification.restart()
    whole = Times()
    with whole.running():
        answers = answer(model, requests)
    return whole.without(verification), answers


def _watch_verification(
    verify: Callable[..., None], times: tuple[Times, Times], inputs: Inputs | None
) -> Callable[..., None]:
    verification, generation = times

    @functools.wraps(verify)
    def timed(*arguments: object) -> None:
        if inputs is not None:
            inputs.is_on = False
        with verification.running():
            verify(*arguments)
        # What the model generated to be verified is no part of its answers.
        generation.restart()
        if inputs is not None:
            inputs.is_on = True

    return timed


def _watch_generation(times: Times) -> None:
    from transformers import GenerationMixin

    generate = GenerationMixin.generate

    @functools.wraps(generate)
    def timed(self: Any, *arguments: Any, **tensors: Any) -> Any:  # noqa: ANN401
        with times.running():
            return generate(self, *arguments, **tensors)

    GenerationMixin.generate = timed


def _watch_inputs(inputs: Inputs) -> None:
    from transformers import GenerationMixin

    generate = GenerationMixin.generate

    @functools.wraps(generate)
    def recorded(self: Any, **tensors: Any) -> Any:  # noqa: ANN401
        inputs.add(tensors)
        return generate(self, **tensors)

    GenerationMixin.generate = recorded


def _summary(digests: list[str]) -> dict[str, Any]:
    together = hashlib.sha256("".join(sorted(digests)).encode())
    return {"n": len(digests), "sha256": together.hexdigest()}


def _digest(tensor: Any) -> str:  # noqa: ANN401  (torch.Tensor)
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


def main(arguments: Sequence[str] | None = None) -> None:
    """Set the clock, then hand over to lmms-eval."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        usage="%(prog)s REPORT [options] -- OPTIONS OF THE HOST",
    )
    parser.add_argument("report", type=Path, help="JSON file for the times")
    parser.add_argument("--inputs", action="store_true", help="record digests of all inputs")
    parser.add_argument(
        "--alternate-profile",
        type=int,
        default=0,
        metavar="N",
        help="before the timed run, answer all requests N times with profile=off and profile=basic",
    )
    given = list(sys.argv[1:] if arguments is None else arguments)
    end = given.index("--") if "--" in given else len(given)
    options, command = parser.parse_args(given[:end]), given[end + 1 :]
    if "--model" not in command:
        parser.error("name --model and the other options of lmms-eval behind --")

    from lmms_eval.models import get_model

    inputs = Inputs() if options.inputs else None
    if inputs is not None:
        _watch_inputs(inputs)
    model_class = get_model(command[command.index("--model") + 1])
    watch(model_class, options.report, inputs, options.alternate_profile)
    sys.argv = ["lmms-eval", *command]
    from lmms_eval.cli.dispatch import main as lmms_eval

    lmms_eval()


if __name__ == "__main__":
    main()
