"""Image files with any content are decoded as RGB, or refused with one of our errors."""

from __future__ import annotations

import io
import warnings

import PIL
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version
from PIL import Image

from moe_eval_plugin.vqa.images import open_image
from tests.fuzz.mutations import Readers, damaged_bytes

# Older releases cannot read the TIFF files of this mode that they write.
OF_PILLOW_13 = ("YCbCr",) if Version(PIL.__version__) >= Version("13") else ()
MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("1", "L", "RGB", "CMYK", "YCbCr"),
    "GIF": ("1", "L", "P", "RGB"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "I", "I;16", "F", *OF_PILLOW_13),
    "BMP": ("1", "L", "P", "RGB"),
}
KINDS = [(kind, mode) for kind, modes in MODES.items() for mode in modes]
EXIF_ORIENTATION = 0x0112


@st.composite
def image_files(draw: st.DrawFn) -> tuple[bytes, tuple[int, int], int]:
    """Return an image file of any kind, its size as stored, and its orientation tag."""
    kind, mode = draw(st.sampled_from(KINDS))
    width, height = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    pixels = draw(st.binary(min_size=width * height, max_size=width * height))
    image = Image.frombytes("L", (width, height), pixels)
    image = image if mode in ("L", "I;16") else image.convert("RGB" if mode == "LAB" else mode)
    if mode == "I;16":
        image = Image.frombytes("I;16", (width, height), pixels * 2)
    elif mode == "LAB":
        image = Image.frombytes("LAB", (width, height), pixels * 3)
    orientation = draw(st.integers(0, 9)) if kind in ("JPEG", "WEBP") else 0
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    file = io.BytesIO()
    image.save(file, kind, **({"exif": exif} if orientation else {}))
    return file.getvalue(), (width, height), orientation


FILES = image_files()


@given(FILES)
def test_any_image(image: tuple[bytes, tuple[int, int], int]) -> None:
    data, size, orientation = image

    opened = open_image(io.BytesIO(data), 1)

    assert opened.mode == "RGB"
    assert opened.size == (size[::-1] if orientation in {5, 6, 7, 8} else size)


@given(st.data())
def test_any_bytes(data: st.DataObject) -> None:
    file, _, _ = data.draw(FILES)
    damaged = data.draw(damaged_bytes(file))
    readers = Readers()

    with warnings.catch_warnings(action="ignore"):  # Pillow's, about damaged metadata
        opened = readers.call(open_image, io.BytesIO(damaged), 1)

    assert readers.unreadable == []
    assert opened is None or opened.mode == "RGB"
