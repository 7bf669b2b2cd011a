"""Collect the warnings of this package while a sweep runs, which else are in its logs alone."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "moe_eval_plugin"
# A warning for each image of a data set would fill the manifest.
MOST = 20


class CollectedWarnings(logging.Handler):
    """The warnings of this package, each once, at most the first 20."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the text of a warning, and let it go where it went before."""
        text = " ".join(record.getMessage().split())
        if text not in self.texts and len(self.texts) < MOST:
            self.texts.append(text)
        if not logging.root.handlers and logging.lastResort is not None:
            logging.lastResort.handle(record)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Collect while the block runs."""
        logger = logging.getLogger(PACKAGE)
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)
