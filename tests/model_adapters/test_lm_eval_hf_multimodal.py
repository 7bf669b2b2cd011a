"""``moe_hf-multimodal`` of lm-eval: the host's own answers to questions with images, at any k."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest
from lm_eval.api.instance import Instance
from lm_eval.models.hf_vlms import HFMultimodalLM

from moe_eval_plugin.errors import UnsupportedFamilyError, UserError
from moe_eval_plugin.model_adapters.lm_eval_hf_multimodal import MoEHFMultimodalLM
from moe_eval_plugin.models.demo import MODEL_PATH
from tests.hosts.lm_eval.tiny_olmoe import save_olmoe
from tests.hosts.lmms_eval.easy_requests import picture, questions

if TYPE_CHECKING:
    from pathlib import Path

N_QUESTIONS = 6
BATCH_SIZE = 4
TASK = "task"
GENERATION = {"until": ["\n"], "max_gen_toks": 4}
SHARED = {"device": "cpu", "dtype": "float32", "batch_size": BATCH_SIZE}


def asked(model: HFMultimodalLM) -> list[Instance]:
    """Return requests for answers to the first questions of easy-VQA."""
    found = []
    for number in range(N_QUESTIONS):
        row = questions()[number]
        text = f"<image>{row['question']}\nAnswer the question using a single word or phrase."
        prompt = model.apply_chat_template([{"role": "user", "content": text}])
        arguments = (prompt, GENERATION, {"visual": [picture(row)]})
        found.append(Instance("generate_until", {}, arguments, 0, (TASK, number, 1)))
    return found


@pytest.fixture(scope="module")
def model() -> MoEHFMultimodalLM:
    return MoEHFMultimodalLM("demo", experts_k=8, **SHARED)


def test_answers_are_those_of_the_host(model: MoEHFMultimodalLM) -> None:
    theirs = HFMultimodalLM(str(MODEL_PATH), **SHARED)
    expected = theirs.generate_until(asked(theirs), disable_tqdm=True)
    assert model.generate_until(asked(model), disable_tqdm=True) == expected
    record = model.moe_eval_records[TASK]
    assert record.experts.observed == 8
    # An image of this model is 16 tokens, and four questions verify k.
    assert record.experts.n_image_tokens == 4 * 16
    assert (record.speed.n_samples, record.answers.n_answers) == (N_QUESTIONS, N_QUESTIONS)
    assert record.speed.n_input_tokens > N_QUESTIONS * 16
    assert record.speed.phases.vision_s > 0
    assert record.speed.ttft_s.n == N_QUESTIONS


def test_another_k_is_verified_with_images(model: MoEHFMultimodalLM) -> None:
    model.set_experts("8/image:2")
    model.generate_until(asked(model), disable_tqdm=True)
    experts = model.moe_eval_records[TASK].experts
    assert (experts.observed_text, experts.observed_image) == (8, 2)
    model.set_experts(8)


def test_text_alone_is_answered_and_scored_too(model: MoEHFMultimodalLM) -> None:
    choice = Instance("loglikelihood", {}, ("Is it red?", " yes"), 0, (TASK, 0, 1))
    text = Instance("loglikelihood_rolling", {}, ("Is it red?",), 0, ("texts", 0, 1))
    answer = Instance("generate_until", {}, ("Is it red?", GENERATION), 0, ("answers", 0, 1))
    ((score, _),) = model.loglikelihood([choice], disable_tqdm=True)
    assert score < 0
    assert model.loglikelihood_rolling([text])[0] < 0
    assert len(model.generate_until([answer], disable_tqdm=True)) == 1
    records = model.moe_eval_records
    assert {records[task].experts.n_image_tokens for task in (TASK, "texts", "answers")} == {0}


def test_scores_of_answers_to_images_are_refused(model: MoEHFMultimodalLM) -> None:
    (image, *_) = asked(model)
    choice = Instance("loglikelihood", {}, ("<image>", " red", image.args[2]), 0, (TASK, 0, 1))
    with pytest.raises(UserError, match=f"{TASK} scores given answers to questions with images"):
        model.loglikelihood([choice])


def test_the_host_collects_no_garbage_among_what_was_loaded(model: MoEHFMultimodalLM) -> None:
    n_parameters = sum(1 for _ in model.model.parameters())
    assert gc.get_freeze_count() > n_parameters


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": "auto"}, "batch_size=auto is not possible: moe_hf-multimodal needs a num"),
        ({"pretrained": "text"}, "olmoe takes no images. Use --model moe_hf."),
        ({"expert_k": 2}, "expert_k is not an argument of moe_hf-multimodal. Did you mean"),
    ],
)
def test_arguments_are_refused_before_anything_is_loaded(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    if "pretrained" in arguments:
        arguments = {"pretrained": str(save_olmoe(tmp_path))}
    with pytest.raises((UserError, UnsupportedFamilyError), match=message):
        MoEHFMultimodalLM.check_arguments({"pretrained": "demo", **arguments})
