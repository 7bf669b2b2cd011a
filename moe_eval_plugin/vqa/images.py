"""Decode one image of a data set."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from moe_eval_plugin.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from PIL.Image import Image

_decoding = threading.Lock()


def open_image(path: str | Path | BinaryIO, question_id: object) -> Image:
    """Return the decoded image of a question, as RGB.

    Raises ``DataError`` for a file that is missing, not an image, or truncated. Pillow can be set,
    for a whole process, to fill the missing part of a truncated file with grey, and lmms-eval sets
    it; a model would then be scored on another image than the question is about. So that setting
    is off while an image is read.
    """
    from PIL import Image, ImageFile

    broken = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
    with _decoding:
        tolerant = ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        try:
            with Image.open(path) as image:
                return image.convert("RGB")
        except broken as error:
            message = (
                f"{path}, the image of question {question_id}, cannot be read: {error}. "
                "Download it again, or delete it to leave its questions out."
            )
            raise DataError(message) from error
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = tolerant
