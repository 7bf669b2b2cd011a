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

This page shows that moe-eval really changes k in each family of Mixture-of-Experts models. The
test builds a tiny model of each family, with random weights and a published k of {K}, in float32
on a CPU. It then checks five things:

- **lowered**, **raised**: moe-eval sets k to {LOWERED} and to {RAISED} on the loaded model. The
  logits equal those of a model that was built with this k, bit for bit.
- **restored**: afterwards, the logits equal those before the change, bit for bit.
- **observed**: every token used exactly the k that was set, in every layer whose k can be set.
- **with image**: so did every image token.

The same tests also set a different k in each layer, and run every implementation of the experts
that transformers offers. A family of transformers without a row fails a test. Four families have
no row, because their routers cannot use another k: phimoe, zaya, switch_transformers and
nllb-moe. moe-eval refuses a request for them.

## Exceptions

- **deepseek_v4**: the layers that look up experts by token id keep the published k. Their row
  leaves these layers out.
- **dots3_note**: the image tower has experts of its own, which keep the published k. Its row
  leaves these experts out.
- **inkling2_loop**: some layers run several times in each forward pass. They choose their experts
  anew each time, and each time counts.
- **llama4** with images: transformers 5.24.0 itself cannot run it. Its forward pass ends with
  `{FAULTS["llama4"]}`.

The tests also pass on transformers 5.16 to 5.19, without the families that these releases lack.
On 5.16 and 5.17 three more families are left out. The experts of aria cannot be observed there,
doge does not run, and the layers of qwen4_exp had other types. These two releases also refuse a
different k for text and image tokens.

## Results
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
    when = f"Run on {datetime.now(UTC).date()} with {versions}: {len(rows)} models."
    PAGE.write_text(f"{EXPLANATION}\n{when}\n\n{table}\n", "utf-8")


if __name__ == "__main__":
    main()
