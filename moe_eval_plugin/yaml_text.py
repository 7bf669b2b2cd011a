"""Read YAML without guesses: every value is the text that is written."""

from __future__ import annotations

from typing import Any

import yaml


def load_texts(text: str) -> Any:  # noqa: ANN401  (whatever the text says)
    """Return the lists, mappings and texts of a YAML document.

    YAML would read ``010`` as 8, ``no`` as false and ``1:30`` as 90, and keep the last of two equal
    keys: here values stay texts, and a repeated key is an error. Raises ``yaml.YAMLError``.
    """
    return yaml.load(text, Loader=_TextLoader)  # noqa: S506  (makes texts only)


class _TextLoader(yaml.BaseLoader):
    """Reads every value as text, and refuses a key that is there twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  (its signature)
        keys = [str(key.value) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                problem = f"{key} is given more than once"
                raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return super().construct_mapping(node, deep)
