"""Print what was measured and what was not, and write ``summary.json``.

``run.sh`` calls it last, with the exit code of each part (124: ended because its time was over). It
exits with 1 if a part is missing or not complete. Only the standard library is needed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

COMPLETE = "0"
MEANINGS = {
    COMPLETE: "complete",
    "124": "ended because its time was over",
    "137": "killed: its time or the memory was over",
    "left out": "left out: no time was left",
}


def read(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file; empty where there is none."""
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def of_environment(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines about the machine."""
    if found:
        device, versions = found["device"], found["versions"]
        yield (
            f"{device['name']}, driver {device['driver']}, CUDA {found['cuda']}, torch "
            f"{versions['torch']}, transformers {versions['transformers']}"
        )


def of_demo(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each k: accuracy, and the speed-up at each batch size."""
    answering = found.get("answering")
    if answering:
        yield (
            f"embedded model: {answering['n_questions']} of {answering['n_questions_of_task']} "
            "questions"
        )
    for name, one in found.get("settings", {}).items():
        accuracy = one.get("exact_match")
        parts = [f"observed {one['observed_num_experts_per_tok']:g}"]
        if accuracy is not None:
            parts.append(f"accuracy {accuracy:.2%} (on a CPU {one['exact_match_on_cpu']:.2%})")
        for batch, speed in found["speed"].items():
            ratio = speed["speed_up"][name]
            if ratio:
                interval = ratio["interval"] and "({:.2f} to {:.2f})".format(*ratio["interval"])
                parts.append(f"{batch}: {ratio['ratio']:.2f}x {interval or 'timed once'}")
        yield f"  {name}: {', '.join(parts)}"


def of_bench(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each k and batch size: decode, distinct experts, energy, memory."""
    if found:
        implementation = found["model"].get("experts_implementation")
        yield f"{found['model']['name']}, random weights, experts by {implementation}"
    for note in found.get("notes", ()):
        yield f"  {note}"
    for point in found.get("points", ()):
        speed, gain = point["speed"], point["decode_speedup"]
        rate = (speed.get("decode_tokens_per_s") or {}).get("median")
        parts = [
            f"k={point['num_experts_per_tok']}, batch {point['batch_size']}",
            "-" if rate is None else f"{rate:.1f} tokens/s in decode",
            "-" if gain is None else f"{gain['median']:.2f}x",
            f"{point['distinct_experts_per_decode_step']:.1f} experts touched",
        ]
        yield f"  {', '.join(parts)}"


def of_watch(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each model and batch size: the cost of the check for NaN."""
    for name in ("demo", "vocabulary_151936"):
        for batch, one in found.get(name, {}).items():
            yield (
                f"check for NaN, {name}, {batch}: time x {one['time_ratio']:.3f}, "
                f"{one['microseconds_for_each_step']:.0f} us a step"
            )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the summary; exit with 1 if something was not measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of the results")
    parser.add_argument("codes", nargs="*", metavar="PART=CODE", help="how each part ended")
    options = parser.parse_args(arguments)
    codes = dict(item.split("=", 1) for item in options.codes)
    parts = {name: MEANINGS.get(code, f"failed with code {code}") for name, code in codes.items()}
    is_complete = bool(codes) and set(codes.values()) == {COMPLETE}
    summary = {"is_complete": is_complete, "parts": parts}
    (options.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", "utf-8")
    print("\n== summary")
    for file, lines in (
        ("environment", of_environment),
        ("demo", of_demo),
        ("bench", of_bench),
        ("bench-grouped-mm", of_bench),
        ("watch", of_watch),
    ):
        for line in lines(read(options.out / f"{file}.json")):
            print(line)
    for name, meaning in parts.items():
        print(f"{name}: {meaning}")
    sys.exit(0 if is_complete else 1)


if __name__ == "__main__":
    main()
