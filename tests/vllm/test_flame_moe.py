"""FLAME-MoE in vLLM: both layouts of a converted checkpoint have Megatron's log-probabilities."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

pytestmark = pytest.mark.needs_vllm
ARCHIVE = ROOT / "tests" / "data" / "megatron" / "vllm-0.16.1.tar.gz"
N_WORDS = 96
END = "<|endoftext|>"
TOLERANCE = 1e-4
SMALL = {"dtype": "float32", "max_model_len": 64, "max_num_seqs": 8, "enforce_eager": True}
A_FEW = {"max_tokens": 2, "min_tokens": 2, "ignore_eos": True, "temperature": 0.0}
SCORES = {"max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 1}
# What a user's own program does, in which nothing of this package is imported by hand.
READ_BY_VLLM = """
import sys
from vllm import EngineArgs
config = EngineArgs(model=sys.argv[1]).create_model_config().hf_config
print(type(config).__name__, config.model_type, config.n_shared_experts, config.n_group)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run directory that Megatron wrote, with its logits at k = 2, 4 and 6."""
    folder = tmp_path_factory.mktemp("megatron")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tokenizer with a word for each row of the embedding."""
    folder = tmp_path_factory.mktemp("tokenizer")
    words = {END: 0, **{f"word{i}": i for i in range(1, N_WORDS)}}
    made = Tokenizer(WordLevel(words, unk_token=END))
    PreTrainedTokenizerFast(tokenizer_object=made, eos_token=END).save_pretrained(folder)
    return folder


def converted(run: Path, tokenizer: Path, output: Path, layout: str) -> Path:
    from moe_eval_plugin.conversion.flame_moe.convert import convert_flame_moe
    from moe_eval_plugin.conversion.options import ConversionOptions

    convert_flame_moe(run, output, ConversionOptions(layout=layout, tokenizer=tokenizer))
    return output


def log_probabilities(logits: Tensor, ids: Tensor) -> Tensor:
    """Return those of the tokens of each text but its first (texts, tokens - 1)."""
    found: Tensor = logits.log_softmax(-1)[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]
    return found


@pytest.mark.parametrize("layout", ["deepseek", "qwen2_moe"])
def test_log_probabilities_are_those_of_megatron_at_each_k(
    run: Path, tokenizer: Path, tmp_path: Path, layout: str
) -> None:
    from moe_eval_plugin.engines.vllm.engine import VLLMEngine
    from moe_eval_plugin.engines.vllm.options import VLLMOptions

    folder = converted(run, tokenizer, tmp_path / "model", layout)
    stored = load_file(run / "logits.safetensors")
    ids, expected = stored["token_ids"], {}
    engine = VLLMEngine(VLLMOptions(str(folder), experts_k=6, engine=SMALL))
    try:
        for k in (6, 4, 2):
            engine.set_k(k)
            assert observed(engine, ids) == k
            expected[k] = log_probabilities(stored[f"float32.k{k}"].float(), ids)
            _, outputs = engine.run_tokens(ids.tolist(), SCORES)
            for output, text, numbers in zip(outputs, ids, expected[k], strict=True):
                found = scores(output, text.tolist())
                assert found == pytest.approx(numbers.tolist(), abs=TOLERANCE, rel=0)
    finally:
        engine.close()
    # Were k without effect on both, they would agree as well.
    assert (expected[6] - expected[2]).abs().max() > 100 * TOLERANCE


def observed(engine: Any, ids: Tensor) -> float | None:
    def one_after_the_other() -> None:
        for text in ids.tolist():
            engine.run_tokens([text], A_FEW)

    found: float | None = engine.observe(one_after_the_other).observed
    return found


def scores(output: Any, text: list[int]) -> list[float]:
    pairs = zip(output.prompt_logprobs[1:], text[1:], strict=True)
    return [of_place[token].logprob for of_place, token in pairs]


def test_vllm_alone_reads_the_configuration(run: Path, tokenizer: Path, tmp_path: Path) -> None:
    folder = converted(run, tokenizer, tmp_path / "model", "deepseek")
    done = subprocess.run(
        [sys.executable, "-c", READ_BY_VLLM, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "DeepseekConfig deepseek 2 1"
