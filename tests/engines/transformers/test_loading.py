"""Checkpoints that bring their own code run as any other, or are refused before a weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image

from moe_eval_plugin.engines.transformers import engine as engine_module
from moe_eval_plugin.engines.transformers.engine import HFEngine
from moe_eval_plugin.engines.transformers.options import EngineOptions
from moe_eval_plugin.errors import UserError
from moe_eval_plugin.experts.verification import OverrideNotEffectiveError
from moe_eval_plugin.models.inspection.report import inspect_model
from tests.engines.transformers.own_code_checkpoint import write_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

# Code of transformers 4 sets it, as the checkpoint here does.
pytestmark = pytest.mark.filterwarnings("ignore:`rope_scaling` is deprecated:FutureWarning")
OWN_PROCESSOR = {
    "processor_class": "TinyProcessor",
    "auto_map": {"AutoProcessor": "modeling_tiny.TinyProcessor"},
}


def ask(*, with_image: bool) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"type": "text", "text": "What color is the shape?"}]
    if with_image:
        parts.insert(0, {"type": "image", "image": Image.new("RGB", (64, 64), "red")})
    return [{"role": "user", "content": parts}]


def load(folder: Path, k: int | None = 2) -> HFEngine:
    return HFEngine(EngineOptions(str(folder), experts_k=k, trust_remote_code=True))


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where weights would be loaded."""
    monkeypatch.delattr(engine_module, "load_model")


@pytest.mark.parametrize(
    ("classes", "processor"),
    [
        (["AutoModel", "AutoModelForCausalLM"], OWN_PROCESSOR),  # as Kimi-VL
        (["AutoModelForImageTextToText"], None),
        (["AutoModelForVision2Seq"], None),
        (["AutoModel"], None),  # as DeepSeek-OCR
    ],
)
def test_a_model_with_images_loads_by_the_class_that_it_names(
    tmp_path: Path, classes: list[str], processor: dict[str, Any] | None
) -> None:
    engine = load(write_checkpoint(tmp_path / "vl", classes, processor=processor))
    assert engine.takes_images
    verified = engine.verify([ask(with_image=True), ask(with_image=True)])
    assert (verified.observed, verified.n_layers) == (2, 2)
    # It has no cache, so every pass has the image again.
    assert verified.n_image_tokens % 32 == 0
    assert verified.n_image_tokens > 0
    assert verified.n_text_tokens > 0
    engine.set_experts(6)
    assert engine.verify([ask(with_image=True)]).observed == 6
    engine.close()
    assert {layer.mlp.gate.top_k for layer in engine.model.language_model.layers} == {4}


def test_a_text_model_reads_text_though_its_tokenizer_names_a_processor(tmp_path: Path) -> None:
    engine = load(write_checkpoint(tmp_path / "text", ["AutoModelForCausalLM"], name="Text"))
    assert not engine.takes_images
    assert engine.verify([ask(with_image=False)]).observed == 2
    with pytest.raises(UserError, match="reads text only"):
        engine.encode([ask(with_image=True)])


def test_experts_that_cannot_be_observed_are_not_called_another_number(tmp_path: Path) -> None:
    """Here each expert computes all tokens, and the weights decide."""
    code = """
def dense(self, hidden):
    indices, weights = self.gate(hidden)
    flat = hidden.flatten(end_dim=-2)
    out = sum(e(flat) * (weights * (indices == n)).sum(-1, keepdim=True)
              for n, e in enumerate(self.experts))
    return out.view_as(hidden)


MoE.forward = dense
"""
    folder = write_checkpoint(tmp_path / "dense", ["AutoModel"], name="Text", code=code)
    with pytest.raises(OverrideNotEffectiveError, match="cannot be observed in 2 of 2 MoE layers"):
        load(folder).verify([ask(with_image=False)])
    assert load(folder, None).verify([ask(with_image=False)]).observed is None


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("\nfrom transformers.utils import is_torch_fx_available\n", "cannot import name"),
        ("\nimport a_package_that_is_not_there\n", "a_package_that_is_not_there"),
        ("\nTinyVL.__init__ = lambda self, config: config.rope['type']\n", "AttributeError: "),
        ("\nTinyVLConfig.__init__ = lambda self, **given: 1 / 0\n", "ZeroDivisionError: "),
    ],
)
def test_code_that_fails_is_one_message_before_a_weight_is_read(
    tmp_path: Path, code: str, text: str
) -> None:
    folder = write_checkpoint(tmp_path / "vl", ["AutoModelForCausalLM"])
    with (folder / "modeling_tiny.py").open("a", encoding="utf-8") as file:
        file.write(code)
    with pytest.raises(UserError, match=text) as failed:
        load(folder)
    assert str(folder) in str(failed.value)


def test_code_that_fails_in_its_first_pass_is_one_message_too(tmp_path: Path) -> None:
    """As code that expects the cache of an earlier release does."""
    code = "\n\nLayer.forward = lambda self, hidden: hidden.get_usable_length(1)\n"
    folder = write_checkpoint(tmp_path / "text", ["AutoModelForCausalLM"], name="Text", code=code)
    with pytest.raises(
        UserError, match=r"does not run with transformers .*: AttributeError: .*4\.50\.3"
    ):
        load(folder).verify([ask(with_image=False)])


@pytest.mark.usefixtures("no_weights")
def test_a_processor_that_nothing_defines_is_named_before_a_weight_is_read(tmp_path: Path) -> None:
    """As DeepSeek-VL2 and DeepSeek-OCR name theirs."""
    processor = {"processor_class": "DeepseekVLV2Processor"}
    folder = write_checkpoint(tmp_path / "vl", ["AutoModel"], processor=processor)
    with pytest.raises(UserError, match="has images, and the processor DeepseekVLV2Processor"):
        load(folder)


def test_what_its_code_computes_when_it_is_built_is_there(tmp_path: Path) -> None:
    """transformers leaves such buffers as the memory happens to be."""
    model = load(write_checkpoint(tmp_path / "vl", ["AutoModelForCausalLM"])).model
    for layer in model.language_model.layers:
        torch.testing.assert_close(layer.inv_freq, 1 / 100 ** (torch.arange(4) / 4))
        assert layer.scale.tolist() == [1]


def test_its_parameters_are_counted(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "vl", ["AutoModel"])
    report = inspect_model(str(folder), trust_remote_code=True)
    assert (report.n_moe_layers, report.num_experts, report.parameters_unknown_reason) == (
        2,
        8,
        None,
    )
    assert {layer.num_experts for layer in report.expert_modules} == {8}
