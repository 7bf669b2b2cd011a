"""Read a pickle without running what it names: classes become records without behaviour."""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from typing import TYPE_CHECKING, Any, Self

from moe_eval_plugin.errors import BrokenCheckpointError, UnsafeCheckpointError
from moe_eval_plugin.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

# Packages whose classes Megatron-core and PyTorch write into a checkpoint.
KNOWN_PACKAGES = ("megatron.", "torch.distributed.", "transformer_engine.")
KNOWN_CLASSES = {
    ("argparse", "Namespace"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("pathlib", "PosixPath"),
    ("pathlib", "PurePosixPath"),
    ("__builtin__", "slice"),
    ("_codecs", "encode"),
    ("builtins", "slice"),
    ("signal", "Signals"),
    ("torch", "device"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch.serialization", "_get_layout"),
}
# Containers of data, which are filled and nothing else.
CONTAINERS: dict[tuple[str, str], type] = {
    ("__builtin__", "set"): set,
    ("builtins", "set"): set,
    ("collections", "OrderedDict"): dict,
    ("torch", "Size"): tuple,
}
_FLOATS = {"bfloat16", "float16", "float32", "float64", "float8_e4m3fn", "float8_e5m2"}
DTYPES = frozenset({*_FLOATS, "bool", "int8", "int16", "int32", "int64", "uint8"})
STORAGES = re.compile("(BFloat16|Bool|Byte|Char|Double|Float|Half|Int|Long|Short|Untyped)Storage")
MOST_CLASSES = 1000
# What pickle's C code does with these, a file does not need: they look codes up in a registry, or
# name a class by text alone.
UNUSUAL = frozenset({"EXT1", "EXT2", "EXT4", "INST", "OBJ", "NEXT_BUFFER", "READONLY_BUFFER"})
MEMO_WRITES = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})


class Record:
    """An object of a pickle: its class by name, the arguments and the state it was stored with."""

    made_of = ""
    arguments: tuple[Any, ...]
    state: Any

    def __new__(cls, *arguments: object) -> Self:
        """Keep the arguments, and do nothing with them."""
        record = object.__new__(cls)
        record.arguments, record.state = arguments, {}
        return record

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        """Keep the state as it is; that of a class with slots is a pair, joined here."""
        if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):  # noqa: PLR2004  (a pair)
            state = {**(state[0] if isinstance(state[0], dict) else {}), **state[1]}
        self.state = state

    def __repr__(self) -> str:
        return f"<{self.made_of}>"


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, source: str) -> None:
        super().__init__(io.BytesIO(data))
        self._source = source
        self._classes: dict[tuple[str, str], type] = {}
        # Each value takes a byte at least; containers that are copied again and again do not.
        self._n_left = len(data)

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401  (as the base)
        found = module, name
        if found in CONTAINERS:
            return self._builder(CONTAINERS[found])
        if module == "torch" and name in DTYPES:
            return name
        if not _is_known(module, name):
            raise _refusal(self._source, f"names {module}.{name}")
        if found not in self._classes:
            if len(self._classes) == MOST_CLASSES:
                raise _refusal(self._source, f"names more than {MOST_CLASSES} classes")
            members = {"made_of": f"{module}.{name}"}
            self._classes[found] = type("Record", (Record,), members)
        return self._classes[found]

    def _builder(self, type_: Callable[[Any], object]) -> Callable[..., object]:
        def build(values: object = ()) -> object:
            if not isinstance(values, list | tuple) or len(values) > self._n_left:
                raise _refusal(self._source, "copies containers again and again")
            self._n_left -= len(values)
            return type_(values)

        return build

    def persistent_load(self, pid: object) -> object:
        """Return what identifies a storage, without its values."""
        return pid


def read_records(data: bytes, source: str) -> Any:  # noqa: ANN401  (whatever the pickle holds)
    """Return what a pickle holds, with a ``Record`` for each object of a class.

    Data types of PyTorch become their names (``"bfloat16"``), sizes become tuples. ``source`` names
    the file in messages. Raises ``UnsafeCheckpointError`` for a class or function that no
    checkpoint needs, and ``BrokenCheckpointError`` for a pickle that cannot be read.
    """
    try:
        _check_operations(data, source)
        return _Unpickler(data, source).load()
    except UnsafeCheckpointError:
        raise
    except (RecursionError, MemoryError) as error:
        raise _refusal(source, f"needs too much memory to read ({one_line(error)})") from error
    except Exception as error:
        # Malformed pickles raise errors of almost any class.
        message = (
            f"{source} cannot be read as a pickle: {one_line(error)}. It may be cut off: download "
            "or copy the checkpoint again, and compare checksums."
        )
        raise BrokenCheckpointError(message) from error


def _check_operations(data: bytes, source: str) -> None:
    """Refuse what makes the C code of pickle allocate memory out of proportion to the file."""
    for operation, argument, _ in pickletools.genops(data):
        if operation.name in UNUSUAL:
            raise _refusal(source, f"uses the pickle operation {operation.name}")
        if operation.name in MEMO_WRITES and isinstance(argument, int) and argument > len(data):
            raise _refusal(source, f"numbers an object {argument}")


def _is_known(module: str, name: str) -> bool:
    is_storage = module == "torch" and STORAGES.fullmatch(name) is not None
    is_plain = name.isidentifier() or all(part.isidentifier() for part in name.split("."))
    return is_plain and (
        is_storage or (module, name) in KNOWN_CLASSES or f"{module}.".startswith(KNOWN_PACKAGES)
    )


def _refusal(source: str, what: str) -> UnsafeCheckpointError:
    return UnsafeCheckpointError(
        f"{source} {what}, which no checkpoint of Megatron needs. Loading such a file can run "
        "commands on this machine. It was not run, and nothing was written. Take the checkpoint "
        "from its authors, or ask them why the file has this."
    )
