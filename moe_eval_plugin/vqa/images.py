"""Decode images: one way for all files, data sets and engines, so that equal files are equal.

``docs/reference/images.md`` lists the rules.
"""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moe_eval_plugin.errors import DataError, UnreadableImageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    import numpy as np
    from PIL.Image import Image, Transpose

logger = logging.getLogger(__name__)

# What Pillow refuses by itself, unless a library in the process has set another limit.
MOST_PIXELS = 178_956_970
EPS = "EPS"
ORIENTATION_TAG = 0x0112
# What Pillow reads the orientation from; and the colour that stands for transparent.
TAGS = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif", "transparency")
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
LARGEST_8_BIT, LARGEST_16_BIT = 255, 65_535
SIXTEEN_BIT = "I;16"
DEEP = ("I", "F")

_decoding = threading.Lock()
_kept: ContextVar[dict[object, Image] | None] = ContextVar("decoded images", default=None)


@contextmanager
def decoding_once() -> Iterator[None]:
    """Decode each file once for all who read it in the block: they get the same image.

    It is that of this thread alone, and nobody may change it.
    """
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def open_image(source: str | Path | BinaryIO, question_id: object, name: str = "") -> Image:
    """Return the decoded image of a question, as RGB; ``name`` stands for ``source`` in messages.

    Raises ``DataError`` for what ``read_image`` cannot read.
    """
    try:
        return read_image(source)
    except UnreadableImageError as error:
        message = (
            f"{name or source}, the image of question {question_id}, cannot be read: {error}. "
            "Download it again, or delete it to leave its questions out."
        )
        raise DataError(message) from error


def read_image(source: str | Path | BinaryIO) -> Image:
    """Return the first frame of an image file, upright and as RGB.

    Raises ``UnreadableImageError`` for a file that is missing, not an image, truncated, larger
    than ``MOST_PIXELS``, or a program (EPS), and where ``as_rgb`` raises it.
    """
    kept = _kept.get()
    if kept is None:
        return _decode(source)
    key = source.getvalue() if isinstance(source, BytesIO) else source
    if key not in kept:
        kept[key] = _decode(source)
    return kept[key]


def _decode(source: str | Path | BinaryIO) -> Image:
    from PIL import Image

    with ExitStack() as stack:
        stack.enter_context(_reasons())
        # What Pillow opens itself it maps into memory, and then turns some TIFF files wrongly.
        if isinstance(source, str | Path):
            source = stack.enter_context(Path(source).open("rb"))
        stack.enter_context(_strictly())
        image = stack.enter_context(Image.open(source))
        _check_size(image)
        if image.format == EPS:
            message = "it is an EPS file, a program that would have to be run"
            raise UnreadableImageError(message)
        image.load()
        shown = as_rgb(image)
        return shown.copy() if shown is image else shown


def as_rgb(image: Image) -> Image:
    """Return an image upright and as RGB, without the tags that would turn it once more.

    An image that is RGB and upright is returned as it is. Raises ``UnreadableImageError`` for an
    image without pixels, and for one whose pixels are no finite numbers or cannot be loaded.
    """
    with _reasons():
        _check_size(image)
        # The tags of an image are complete once its pixels are loaded.
        image.load()
        turn = _turn(image)
        if turn is None and image.mode == "RGB" and "transparency" not in image.info:
            return image
        converted = _converted(image)
        upright = converted if turn is None else converted.transpose(turn)
        for tags in TAGS:
            upright.info.pop(tags, None)
        _warn_if_flat(image, upright)
        return upright


@contextmanager
def _reasons() -> Iterator[None]:
    """Raise ``UnreadableImageError`` for whatever a decoder raises, of which there are dozens."""
    try:
        yield
    except (UnreadableImageError, MemoryError):
        raise
    except Exception as error:
        raise UnreadableImageError(str(error) or type(error).__name__) from error


@contextmanager
def _strictly() -> Iterator[None]:
    """Set Pillow to refuse truncated files, and to leave the number of pixels to us.

    Both are settings of a whole process. lmms-eval has truncated files filled with grey, so that a
    model would be scored on another image than the question is about, and some of its tasks
    change the limit of pixels.
    """
    from PIL import Image, ImageFile

    with _decoding:
        before = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, None
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = before


def _check_size(image: Image) -> None:
    width, height = image.size
    if not width or not height:
        message = f"it has no pixels ({width} x {height})"
        raise UnreadableImageError(message)
    if width * height > MOST_PIXELS:
        message = f"it has {width:,} x {height:,} pixels; {MOST_PIXELS:,} is the limit"
        raise UnreadableImageError(message)


def _turn(image: Image) -> Transpose | None:
    """Return what makes an image upright; ``None`` where no tag says that it is not."""
    from PIL.Image import Transpose

    try:
        orientation = image.getexif().get(ORIENTATION_TAG)
    except Exception:  # noqa: BLE001  (whatever broken tags raise, the pixels are not concerned)
        return None
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return turns.get(orientation) if isinstance(orientation, int) else None


def _converted(image: Image) -> Image:
    if image.mode.startswith(SIXTEEN_BIT) or image.mode in DEEP:
        return _from_deep(image)
    if image.has_transparency_data:
        return _over_background(image)
    return image.convert("RGB")


def _over_background(image: Image) -> Image:
    """Return an image over white; over black where all that is visible would vanish in white.

    An image without any visible pixel has an alpha channel that nobody filled, so it is ignored.
    """
    from PIL import Image

    # Pillow has no direct way from grey with premultiplied alpha.
    with_alpha = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    least, most = with_alpha.getchannel("A").getextrema()
    if most == 0 or least == LARGEST_8_BIT:
        return with_alpha.convert("RGB")
    over = {
        colour: Image.alpha_composite(
            Image.new("RGBA", image.size, (*colour, LARGEST_8_BIT)), with_alpha
        ).convert("RGB")
        for colour in (WHITE, BLACK)
    }
    return over[BLACK] if _is_flat(over[WHITE]) else over[WHITE]


def _from_deep(image: Image) -> Image:
    """Return grey with 16 or 32 bits, or with fractions, as RGB with 8 bits per channel."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image).astype(np.float64)
    is_number = np.isfinite(values)
    if not is_number.any():
        message = "none of its pixels is a finite number"
        raise UnreadableImageError(message)
    low, high = float(values[is_number].min()), float(values[is_number].max())
    values = np.where(is_number, values, low)
    first, last = _range_of(image.mode, low, high)
    grey = _scaled(values, first, last)
    if grey.min() == grey.max() and low < high:
        logger.warning(
            "An image has values from %g to %g alone; they are spread over black to white, since "
            "they would all be one grey.",
            low,
            high,
        )
        grey = _scaled(values, low, high)
    return Image.fromarray(grey).convert("RGB")


def _range_of(mode: str, low: float, high: float) -> tuple[float, float]:
    """Return the values that become black and white.

    Only 16 bits say what they are; otherwise the smallest usual range that has all values is
    taken, and the values' own where none has.
    """
    if mode.startswith(SIXTEEN_BIT):
        return 0, LARGEST_16_BIT
    usual = (1, LARGEST_8_BIT, LARGEST_16_BIT) if mode == "F" else (LARGEST_8_BIT, LARGEST_16_BIT)
    for last in usual:
        if low >= 0 and high <= last:
            return 0, last
    return low, high


def _scaled(values: np.ndarray[Any, Any], first: float, last: float) -> np.ndarray[Any, Any]:
    import numpy as np

    span = last - first or 1
    return np.rint((values - first) * (LARGEST_8_BIT / span)).astype(np.uint8)


def _is_flat(image: Image) -> bool:
    """Whether all pixels have one value."""
    extrema = image.getextrema()
    pairs = extrema if isinstance(extrema[0], tuple) else (extrema,)
    return all(low == high for low, high in pairs)


def _warn_if_flat(image: Image, shown: Image) -> None:
    if _is_flat(shown) and not _is_flat(image):
        logger.warning(
            "An image of mode %s with %d x %d pixels is shown as one colour, %s, although its "
            "pixels differ.",
            image.mode,
            *image.size,
            shown.getpixel((0, 0)),
        )
