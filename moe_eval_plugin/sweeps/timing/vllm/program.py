"""Program of a process that has one vLLM engine, and times questions on request.

``python -m moe_eval_plugin.sweeps.timing.vllm.program DESCRIPTOR``. Standard input has a line of
JSON to begin with (the fields of ``EngineStart``) and one for each order (``TimingOrder``); a line
with the answer to each goes to the file descriptor. The process ends with its input.

vLLM's caches of prompts and images are off, and k is verified on the questions of a task before
any of them is timed.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Protocol

from moe_eval_plugin.hosts.harness import LM_EVAL
from moe_eval_plugin.hosts.shared.host_run import HostRun
from moe_eval_plugin.sweeps.timing.vllm.orders import EngineStart, TimingOrder


class Server(Protocol):
    """An engine and the questions of a host."""

    device: str

    def time(self, order: TimingOrder) -> dict[str, Any]:
        """Answer the questions of an order, and return their times, as plain data.

        Raises ``OverrideNotEffectiveError`` before anything is timed at a k that is not in force.
        """

    def close(self) -> None:
        """Stop the engine."""


def serve(start: EngineStart) -> None:
    """Start the engine, and answer orders until there are no more."""
    run = HostRun(**{**start.run, "tasks": tuple(start.run["tasks"])})
    server = _start(start.host, run)
    _answer({"device": server.device})
    for line in sys.stdin:
        _answer(server.time(TimingOrder(**json.loads(line))))
    server.close()


def _start(host: str, run: HostRun) -> Server:
    if host == LM_EVAL:
        from moe_eval_plugin.sweeps.timing.vllm.lm_eval_server import LmEvalServer

        return LmEvalServer(run)
    from moe_eval_plugin.sweeps.timing.vllm.lmms_eval_server import LmmsEvalServer

    return LmmsEvalServer(run)


def _answer(content: dict[str, Any]) -> None:
    with os.fdopen(os.dup(int(sys.argv[1])), "wb") as file:
        file.write(json.dumps(content).encode() + b"\n")


if __name__ == "__main__":
    serve(EngineStart(**json.loads(sys.stdin.readline())))
