"""Load a model, and the prompts that a schedule or the parameters of a policy are chosen with."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.hosts.exit_codes import errors_are_raised
from moe_eval_plugin.hosts.harness import LM_EVAL
from moe_eval_plugin.prompts.progress import NoProgress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moe_eval_plugin.prompts.loading import ModelSource
    from moe_eval_plugin.prompts.progress import Progress
    from moe_eval_plugin.tuning.calibration import CalibrationModel, CalibrationPrompts
    from moe_eval_plugin.tuning.prompts.model import LoadedModel
    from moe_eval_plugin.tuning.prompts.request import CalibrationRequest

LACKING = "k that could be lowered"


@contextmanager
def calibration_prompts(
    request: CalibrationRequest, progress: Progress | None = None
) -> Iterator[tuple[CalibrationModel, CalibrationPrompts]]:
    """Yield a loaded model, as published, and the prompts of a calibration with its answers.

    Questions are drawn at random, in all ``request.n_questions``, shared equally by the tasks:
    from the split that a task names for training, else from the one that it evaluates. The host
    builds their prompts as it does those that it evaluates. A prompt is followed by the model's
    own greedy answer, or by the text that the host scores after it; a question with several
    choices has a prompt for each, and its loss is the mean over them. The published k is verified
    before anything is answered, and the model is restored after the block.

    Raises ``UserError`` for what is not possible before any weight is read; and
    ``OverrideNotEffectiveError`` where tokens do not use the published k.

    Example::

        request = CalibrationRequest("demo", ("easy_vqa",), n_questions=64)
        with calibration_prompts(request) as (model, prompts):
            ...
    """
    from moe_eval_plugin.prompts.loading import load_tasks, read_model
    from moe_eval_plugin.tuning.prompts.asking import ask
    from moe_eval_plugin.tuning.prompts.drawing import draw
    from moe_eval_plugin.tuning.prompts.random_tokens import verified_random_prompts

    shown = progress or NoProgress()
    with errors_are_raised():
        source = read_model(request, request.checked_harness(), shown, LACKING)
        tasks = None if request.data_free else load_tasks(source, shown)
        drawn = [] if tasks is None else draw(request, tasks)
        with source.loaded(_class_of, shown) as model:
            with _at_published_k(source, model.loaded):
                if tasks is None:
                    prompts = verified_random_prompts(request, model.loaded)
                else:
                    prompts = ask(request, tasks, drawn, model, shown)
            yield model.loaded, prompts


@contextmanager
def _at_published_k(source: ModelSource, loaded: LoadedModel) -> Iterator[None]:
    """Ask for the published k by its number, so that verifying the model compares it."""
    k = source.config.description.num_experts_per_tok
    published = loaded.at_k.request
    loaded.at_k.set(source.config.request(k))
    try:
        yield
    finally:
        loaded.at_k.set(published)


def _class_of(host: str, *, takes_images: bool) -> Any:  # noqa: ANN401  (one of three)
    """Import the class of models for calibration, for a host."""
    if host == LM_EVAL:
        from moe_eval_plugin.tuning.prompts import lm_eval_model

        if takes_images:
            return lm_eval_model.CalibrationMultimodalLM
        return lm_eval_model.CalibrationLM
    from moe_eval_plugin.tuning.prompts.lmms_eval_model import CalibrationMoEHF

    return CalibrationMoEHF
