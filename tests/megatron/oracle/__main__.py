"""Build models of FLAME-MoE's architecture with Megatron-core on a CPU, and save what it saves.

    PYTHONPATH=build/megatron-0.16.1 python tests/megatron/oracle OUT RUN [RUN ...]

Each RUN is ``NAME[:PRESET][,FIELD=VALUE]...`` with the fields and presets of ``shapes.py``, such as
``base:38m`` or ``gqa:small,groups=2,dtype=bfloat16``. ``OUT/NAME`` is then a run directory as
training leaves it, with ``logits.safetensors`` added: ``token_ids``, and the logits of the model in
float32 at each k (``float32.k6``; ``float32`` if it is dense). If its type is another one, the
logits in that type are there too (``bfloat16.k6``).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from shapes import Shape, parse_run


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def one_process(rank: int, folder: Path, shape: Shape, port: int) -> None:
    """Be one of the processes of a run."""
    import cpu
    import torch
    import training
    from megatron.core import parallel_state

    torch.distributed.init_process_group(
        "gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=shape.processes
    )
    parallel_state.initialize_model_parallel(expert_model_parallel_size=shape.processes)
    cpu.prepare_saving()
    training.run(folder, shape)
    torch.distributed.destroy_process_group()


def main() -> None:
    """Make each run in processes of its own, which share what was imported."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", nargs="+", metavar="RUN", type=parse_run)
    options = parser.parse_args()

    import cpu

    cpu.before_import()
    cpu.prepare_cuda()

    import training
    from torch.multiprocessing.spawn import start_processes

    cpu.prepare_megatron()
    print("megatron-core", training.version(), flush=True)  # noqa: T201
    for name, shape in options.runs:
        folder = options.out / name
        folder.mkdir(parents=True)
        arguments = (folder, shape, free_port())
        start_processes(one_process, arguments, shape.processes, start_method="fork")


if __name__ == "__main__":
    main()
