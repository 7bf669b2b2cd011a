"""Does the model fit: pure arithmetic, real files, and a hub spoken to over real HTTP."""

from __future__ import annotations

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file
from transformers import Qwen3MoeConfig

from moe_eval_plugin import checkpoint, preflight, weights
from moe_eval_plugin.errors import InsufficientMemoryError, ModelNotFoundError, UserError
from moe_eval_plugin.preflight import GIB, Memory
from moe_eval_plugin.weights import WeightSize

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMIT = "1" * 40
SHARDS = [f"model-{i:05d}-of-00002.safetensors" for i in (1, 2)]


class Hub(BaseHTTPRequestHandler):
    """As much of the model hub as is asked for here."""

    models: ClassVar[dict[str, dict[str, Any]]]
    requests: ClassVar[list[str]]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.requests.append(self.path)
        path = self.path.split("?")[0].removeprefix("/api/models/").removeprefix("/")
        name = "/".join(path.split("/")[:2])
        model = self.models.get(name)
        if model is None:
            self.reply(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif "error" in model:
            self.reply(403, b"{}", {"X-Error-Code": model["error"]})
        elif "/revision/" in path and not path.endswith(("/main", COMMIT)):
            self.reply(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif "/resolve/" in path and "gate" in model:
            self.reply(403, b"{}", {"X-Error-Code": "GatedRepo"})
        elif "/resolve/" in path and path.endswith("config.json"):
            self.reply(200, model["config"], {"ETag": '"abc"', "X-Repo-Commit": COMMIT})
        elif self.path.startswith("/api/"):
            self.reply(200, json.dumps({"id": name, "sha": COMMIT, **model["info"]}).encode(), {})
        else:
            self.reply(404, b"{}", {"X-Error-Code": "EntryNotFound"})

    def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the output of the tests clean."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """A hub on this machine, with an empty cache."""

    class ThisHub(Hub):
        models: ClassVar[dict[str, dict[str, Any]]] = {}
        requests: ClassVar[list[str]] = []

    server = ThreadingHTTPServer(("127.0.0.1", 0), ThisHub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    url = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", url)
    huggingface_hub.close_session()
    yield ThisHub
    server.shutdown()
    thread.join()
    server.server_close()
    huggingface_hub.close_session()


def published(sizes: dict[str, int | None], **more: Any) -> dict[str, Any]:
    siblings = [{"rfilename": name, "size": size} for name, size in sizes.items()]
    config = Qwen3MoeConfig(num_experts=7).to_json_string().encode()
    return {"config": config, "info": {"siblings": siblings, **more}}


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["model.safetensors", *SHARDS, "pytorch_model.bin"], ["model.safetensors"]),
        ([*SHARDS, "consolidated.safetensors", "model.safetensors.index.json"], SHARDS),
        ([*SHARDS, "onnx/model.onnx", "original/model.safetensors"], SHARDS),
        (
            ["model.safetensors-00001-of-00002.safetensors", "tokenizer.json"],
            ["model.safetensors-00001-of-00002.safetensors"],
        ),
        (
            ["layers-0.safetensors", "layers-1.safetensors"],
            ["layers-0.safetensors", "layers-1.safetensors"],
        ),
        (
            ["pytorch_model-00001-of-00001.bin", "training_args.bin"],
            ["pytorch_model-00001-of-00001.bin"],
        ),
        (["adapter_model.safetensors", "config.json"], []),
    ],
)
def test_one_set_of_weight_files_is_chosen(names: list[str], chosen: list[str]) -> None:
    assert weights.choose_weight_files(names) == chosen


@pytest.mark.parametrize(
    ("dtype", "needed"),
    [
        (None, 1100),
        ("auto", 1100),
        ("bfloat16", 1100),
        ("torch.bfloat16", 1100),
        ("float32", 2090),  # 450 numbers of 2 bytes get 4 bytes, 100 quantised bytes stay
        ("no such dtype", 1100),
    ],
)
def test_memory_follows_the_dtype_asked_for(dtype: str | None, needed: int) -> None:
    size = WeightSize(total_bytes=1000, elements={"BF16": 450, "U8": 100})
    assert preflight.bytes_needed(size, dtype) == needed


def test_a_smaller_dtype_needs_less() -> None:
    size = WeightSize(total_bytes=4000, elements={"F32": 1000})
    assert preflight.bytes_needed(size, "float16") == 2200


def test_memory_that_suffices_exactly_is_enough() -> None:
    preflight.require_memory("m", 100, Memory(100, "the RAM"))
    with pytest.raises(InsufficientMemoryError):
        preflight.require_memory("m", 101, Memory(100, "the RAM"))


def test_refusal_names_sizes_and_ways_out() -> None:
    with pytest.raises(InsufficientMemoryError) as caught:
        preflight.require_memory("big/model", 62 * GIB, Memory(16 * GIB, "cuda:0"))
    for part in (
        "big/model",
        "62.0 GiB",
        "16.0 GiB",
        "cuda:0",
        "pretrained=demo",
        "dtype=bfloat16",
        "device_map=auto",
        "MOE_EVAL_SKIP_PREFLIGHT=1",
    ):
        assert part in str(caught.value)


def test_disk_must_hold_the_download() -> None:
    preflight.require_disk("m", 5 * GIB, 5 * GIB)
    with pytest.raises(
        InsufficientMemoryError, match=r"download of 6\.0 GiB, and 5\.0 GiB.*HF_HOME"
    ):
        preflight.require_disk("m", 6 * GIB, 5 * GIB)


def test_ram_of_this_machine() -> None:
    memory = preflight.free_memory("cpu", None)
    assert memory is not None
    assert memory.where == "the RAM"
    assert 0 < memory.free_bytes < 2**50


def test_device_map_comes_before_the_device() -> None:
    on_cpu = preflight.free_memory("cuda", "cpu")
    assert on_cpu is not None
    assert on_cpu.where == "the RAM"


def test_automatic_map_adds_the_gpus_to_the_ram() -> None:
    memory = preflight.free_memory("cpu", "auto")
    assert memory is not None
    n_gpus = torch.cuda.device_count()
    assert memory.where == (f"{n_gpus} GPUs and the RAM together" if n_gpus else "the RAM")


def test_memory_of_a_device_that_is_not_there_is_unknown() -> None:
    assert preflight.free_memory("cuda:99", None) is None
    assert preflight.free_memory("abacus", None) is None


def container(folder: Path, limit: str) -> Path:
    (folder / "memory.max").write_text(limit)
    (folder / "memory.current").write_text("700000\n")
    (folder / "memory.stat").write_text("anon 600000\ninactive_file 50000\n")
    return folder


def test_limit_of_a_container_counts(tmp_path: Path) -> None:
    assert preflight.free_ram_bytes(container(tmp_path, "1000000\n")) == 350_000
    assert preflight.free_ram_bytes(container(tmp_path, "600000\n")) == 0


def test_container_without_a_limit_has_the_whole_machine(tmp_path: Path) -> None:
    assert preflight.free_ram_bytes(container(tmp_path, "max\n")) > 350_000


def test_free_disk_of_a_folder_that_is_still_to_be_made(tmp_path: Path) -> None:
    assert preflight.free_disk_bytes(tmp_path / "a" / "b") > 0


def folder_with_weights(folder: Path) -> Path:
    (folder / "config.json").write_text("{}")
    tensors = {"a": torch.zeros(10, 3, dtype=torch.bfloat16), "b": torch.zeros(4, dtype=torch.int8)}
    save_file(tensors, folder / SHARDS[0])
    save_file({"c": torch.zeros(5)}, folder / SHARDS[1])
    return folder


def test_size_on_disk_with_what_the_files_hold(tmp_path: Path) -> None:
    folder = folder_with_weights(tmp_path)
    n_bytes = sum((folder / name).stat().st_size for name in SHARDS)
    expected = WeightSize(n_bytes, download_bytes=0, elements={"BF16": 30, "I8": 4, "F32": 5})
    assert weights.weight_size(str(folder)) == expected


def test_folder_without_weights_has_no_size(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert weights.weight_size(str(tmp_path)) is None


def test_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    folder = folder_with_weights(tmp_path)
    whole = (folder / SHARDS[1]).read_bytes()
    for end, reason in ((-1, "promises"), (20, "header cannot be read")):
        (folder / SHARDS[1]).write_bytes(whole[:end])
        with pytest.raises(UserError, match=rf"{SHARDS[1]}.*{reason}.*Download it again"):
            weights.weight_size(str(folder))


def test_folder_that_fits_passes(tmp_path: Path) -> None:
    folder = folder_with_weights(tmp_path)
    preflight.check_memory(str(folder), device="cpu", device_map=None, dtype="float32")


def huge_folder(folder: Path) -> Path:
    """A sparse file of 15 TiB, which takes no space on the disk."""
    (folder / "config.json").write_text("{}")
    with (folder / "pytorch_model.bin").open("wb") as file:
        file.truncate(15 * 1024 * GIB)
    return folder


def test_folder_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    folder = huge_folder(tmp_path)
    with pytest.raises(InsufficientMemoryError, match=r"16,896\.0 GiB"):
        preflight.check_memory(str(folder), device="cpu", device_map=None, dtype=None)


def test_check_can_be_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MOE_EVAL_SKIP_PREFLIGHT", "1")
    caplog.set_level(logging.INFO)
    folder = huge_folder(tmp_path)
    preflight.check_memory(str(folder), device="cpu", device_map=None, dtype=None)
    assert "was not checked" in caplog.text
    monkeypatch.setenv("MOE_EVAL_SKIP_PREFLIGHT", "0")
    with pytest.raises(InsufficientMemoryError):
        preflight.check_memory(str(folder), device="cpu", device_map=None, dtype=None)


def test_unknown_size_is_logged_and_does_not_stop(caplog: pytest.LogCaptureFixture) -> None:
    preflight.check_memory("somebody/unknown", device="cpu", device_map=None, dtype=None)
    assert "size of somebody/unknown is not known" in caplog.text


def test_model_on_the_hub_is_refused_before_its_weights_are_asked_for(hub: type[Hub]) -> None:
    hub.models["big/model"] = published(dict.fromkeys(SHARDS, 10**16))
    with pytest.raises(InsufficientMemoryError, match="Nothing was downloaded"):
        preflight.check_memory("big/model", device="cpu", device_map=None, dtype=None)
    assert hub.requests
    assert not any("safetensors" in path for path in hub.requests)


def test_size_on_the_hub_less_what_is_cached(hub: type[Hub], tmp_path: Path) -> None:
    info = {"safetensors": {"parameters": {"BF16": 150}, "total": 150}}
    hub.models["some/model"] = published({SHARDS[0]: 100, SHARDS[1]: 200, "x.bin": 5}, **info)
    expected = WeightSize(300, download_bytes=300, elements={"BF16": 150})
    assert weights.weight_size("some/model") == expected
    snapshot = tmp_path / "cache" / "models--some--model" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / SHARDS[0]).write_bytes(b"x" * 100)
    size = weights.weight_size("some/model")
    assert size is not None
    assert (size.total_bytes, size.download_bytes) == (300, 200)


def test_size_that_the_hub_does_not_say_is_unknown(hub: type[Hub]) -> None:
    hub.models["some/model"] = published({SHARDS[0]: 100, SHARDS[1]: None})
    assert weights.weight_size("some/model") is None


def test_cached_model_is_measured_without_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "models--some--model"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    folder_with_weights(snapshot)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    size = weights.weight_size("some/model")
    assert size is not None
    assert size.elements["BF16"] == 30


def test_configuration_comes_from_the_hub(hub: type[Hub]) -> None:
    hub.models["some/model"] = published({})
    assert checkpoint.load_config("some/model").num_experts == 7


def test_hub_has_no_such_model(hub: type[Hub]) -> None:
    assert hub.models == {}
    with pytest.raises(ModelNotFoundError, match="the hub has no such model"):
        checkpoint.load_config("some/model")


def test_hub_has_no_such_revision(hub: type[Hub]) -> None:
    hub.models["some/model"] = published({})
    with pytest.raises(ModelNotFoundError, match="no revision v9"):
        checkpoint.load_config("some/model", "v9")


@pytest.mark.parametrize("where", ["error", "gate"])
def test_gated_model_says_how_to_get_in(hub: type[Hub], where: str) -> None:
    hub.models["some/model"] = {**published({}), where: "GatedRepo"}
    with pytest.raises(ModelNotFoundError, match=r"is gated: accept its conditions.*hf auth login"):
        checkpoint.load_config("some/model")


def test_hub_that_does_not_listen_is_found_out_at_once(
    hub: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hub.models == {}
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelNotFoundError, match="the hub cannot be reached"):
        checkpoint.load_config("some/model")
