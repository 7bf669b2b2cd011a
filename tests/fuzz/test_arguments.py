"""Arguments with any text are read, or refused with one of our errors."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from moe_eval_plugin.engines.expert_request import check_request
from moe_eval_plugin.experts.schedules.parser import parse_experts_k
from moe_eval_plugin.model_adapters.hf_arguments import parse_arguments
from tests.fuzz.mutations import ANY_JSON, Readers, damaged_bytes

RUNS_CODE = "trust_remote_code"
NAMES = (
    "experts_k",
    "experts_policy",
    "renorm",
    "revision",
    "dtype",
    "device",
    "device_map",
    "attn_implementation",
    "experts_implementation",
    "min_pixels",
    "max_pixels",
    "batch_size",
    "max_batch_size",
    "max_new_tokens",
    "system_prompt",
    "seed",
    "profile",
    "profile_trace",
    RUNS_CODE,
)
WORDS = st.sampled_from(
    ["", "4", "0", "-1", "9", "1e3", "auto", "true", "no", "None", "cpu", "meta", "float16", "off"]
)
SCHEDULES = st.text(alphabet="0123456789:/+-@textimagprflodc ", max_size=20)
SCHEDULE_FILE = b"- {k: 8, layers: 0-1}\n- {k: 2, modality: image, phase: prefill}\n"


@given(st.dictionaries(st.sampled_from(NAMES), WORDS | ANY_JSON, max_size=4))
def test_any_values_of_options(given_options: dict[str, object]) -> None:
    readers = Readers()

    parsed = readers.call(parse_arguments, {"pretrained": "demo", **given_options})
    if parsed is not None:
        readers.call(check_request, parsed[0])

    assert readers.unreadable == []


@given(st.text(max_size=20) | SCHEDULES | ANY_JSON)
def test_any_schedule(value: object) -> None:
    readers = Readers()

    schedule = readers.call(parse_experts_k, value)

    assert readers.unreadable == []
    if schedule is not None and not str(value).strip().startswith("@"):
        assert parse_experts_k(schedule.text) == schedule


@given(damaged_bytes(SCHEDULE_FILE))
def test_any_schedule_file(content: bytes) -> None:
    readers = Readers()
    with TemporaryDirectory() as folder:
        path = Path(folder, "schedule.yaml")
        path.write_bytes(content)

        readers.call(parse_experts_k, f"@{path}")

    assert readers.unreadable == []
