"""Choose which implementation of transformers computes the routed experts."""

from __future__ import annotations

from typing import Any

from moe_eval_plugin.errors import InvalidArgumentError

GROUPED_ALWAYS = "grouped_mm_always"
IMPLEMENTATIONS = ("eager", "grouped_mm", "batched_mm", GROUPED_ALWAYS)


def use_experts(model: Any, name: str | None) -> None:  # noqa: ANN401  (one of many model classes)
    """Choose the implementation; ``None`` leaves the choice to transformers.

    On GPUs, ``generate`` decodes with ``batched_mm`` where a model has ``grouped_mm``: that copies
    the weights of each token's experts, so a step reads k of them for each token, however few
    are distinct. ``grouped_mm_always`` is the same grouped multiplication under a name of ours,
    which is therefore kept in decode. Raises ``InvalidArgumentError`` for a name that is not in
    ``IMPLEMENTATIONS``, and for one that this model cannot use.
    """
    if name is None:
        return
    if name not in IMPLEMENTATIONS:
        message = f"experts_implementation={name} is not known. Use {', '.join(IMPLEMENTATIONS)}."
        raise InvalidArgumentError(message)
    if name == GROUPED_ALWAYS:
        _register()
    try:
        model.set_experts_implementation(name)
    except (ValueError, ImportError) as error:
        message = f"experts_implementation={name} cannot be used here: {error}"
        raise InvalidArgumentError(message) from error


def _register() -> None:
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    ALL_EXPERTS_FUNCTIONS.register(GROUPED_ALWAYS, ALL_EXPERTS_FUNCTIONS["grouped_mm"])
