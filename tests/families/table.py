"""Write the docs table of the contract, from a run on the installed transformers.

Call it in the root of the repository: ``PYTHONPATH=tests python -m families.table``. It writes
``docs/reference/contract.md``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import torch
import transformers

from .contract import (
    CASES,
    FAULTS,
    fault_in_transformers,
    is_missing,
    logits,
    observed,
    rebuilt,
    routed_layers,
    with_k,
)
from .tiny_configs import LOWERED, RAISED, Case, K

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "contract.md"
COLUMNS = ("lowered", "raised", "restored", "observed", "with image")
EXPLANATION = f"""\
# The contract of each family

Each family of Mixture-of-Experts models keeps the same contract, checked on a tiny model with
random weights, {K} experts per token as published, in float32 on a CPU:

- **lowered**, **raised**: with k set to {LOWERED} and to {RAISED} on the loaded model, the logits
  are equal bit for bit to those of a model that was built with that k.
- **restored**: afterwards they are equal bit for bit to those before.
- **observed**: every token used exactly the k that was set, in every layer whose k can be set.
- **with image**: so did every token of a picture.

The same tests set another k in each layer and compute the experts in each way that transformers
offers. A family of transformers that is in no row fails a test. phimoe, zaya,
switch_transformers and nllb-moe are not here: their routers cannot use another k, and a request
for one is refused.

The suite passes on transformers 5.16 to 5.19 too, where families that it lacks are skipped by name.
On 5.16 and 5.17 so are aria, whose experts cannot be observed there, doge, which these releases
cannot run, and qwen4_exp, whose layers had other types; different k for text and image tokens are
refused there.

A model that transformers itself cannot run is skipped by name. In 5.24.0 that is llama4 with
images, whose forward pass ends with `{FAULTS["llama4"]}`.

In inkling2_loop some layers run several times in each forward pass. They choose their experts anew
each time, and each time counts.

Two rows have layers that are left alone and that do not count above: in deepseek_v4 the layers that
look experts up by token id keep the published k, and in dots3_note so does the image tower, which
has experts of its own.
"""


def check(case: Case) -> dict[str, bool | None]:
    """Return whether one family keeps each part of the contract; ``None`` for a part it lacks."""
    published = logits(case)
    equal, seen = {}, []
    for name, k in (("lowered", LOWERED), ("raised", RAISED)):
        with with_k(case, k):
            equal[name] = torch.equal(logits(case), logits(case, rebuilt(case, k)))
            seen.append((k, observed(case)))
    layers = routed_layers(case)
    images = [(k, observation.by_layer(modality="image")) for k, observation in seen]
    return {
        **equal,
        "restored": torch.equal(logits(case), published),
        "observed": all(set(o.by_layer()[path]) == {k} for k, o in seen for path in layers),
        "with image": all(
            any(by_layer.get(path) for path in layers)
            and all(set(by_layer.get(path) or {k}) == {k} for path in layers)
            for k, by_layer in images
        )
        if case.image
        else None,
    }


def main() -> None:
    """Write the page."""
    marks = {True: "yes", False: "**no**", None: ""}
    rows = []
    for case in CASES:
        if is_missing(case):
            rows.append([case.id, *["not in this release"] * len(COLUMNS)])
        elif fault_in_transformers(case):
            rows.append([case.id, *["fails in transformers itself"] * len(COLUMNS)])
        else:
            result = check(case)
            rows.append([case.id, *(marks[result[column]] for column in COLUMNS)])
    lines = [["family", *COLUMNS], ["---"] * (len(COLUMNS) + 1), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    versions = f"transformers {transformers.__version__} and torch {torch.__version__}"
    when = f"Run on {datetime.now(UTC).date()} with {versions}: {len(rows)} set-ups."
    PAGE.write_text(f"{EXPLANATION}\n{when}\n\n{table}\n", "utf-8")


if __name__ == "__main__":
    main()
