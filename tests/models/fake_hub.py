from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from safetensors.torch import save_file
from transformers import Qwen3MoeConfig

if TYPE_CHECKING:
    from pathlib import Path


COMMIT = "1" * 40


SHARDS = [f"model-{i:05d}-of-00002.safetensors" for i in (1, 2)]


class Hub(BaseHTTPRequestHandler):
    """The endpoints of the model Hub that these tests use."""

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


def published(sizes: dict[str, int | None], **more: Any) -> dict[str, Any]:
    siblings = [{"rfilename": name, "size": size} for name, size in sizes.items()]
    config = Qwen3MoeConfig(num_experts=7).to_json_string().encode()
    return {"config": config, "info": {"siblings": siblings, **more}}


def folder_with_weights(folder: Path) -> Path:
    (folder / "config.json").write_text("{}")
    tensors = {"a": torch.zeros(10, 3, dtype=torch.bfloat16), "b": torch.zeros(4, dtype=torch.int8)}
    save_file(tensors, folder / SHARDS[0])
    save_file({"c": torch.zeros(5)}, folder / SHARDS[1])
    return folder
