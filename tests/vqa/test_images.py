from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from moe_eval_plugin.errors import DataError, UnreadableImageError
from moe_eval_plugin.vqa.images import (
    MOST_PIXELS,
    as_rgb,
    decoding_once,
    open_image,
    read_image,
)
from tests.vqa.vqa_files import cut_off

if TYPE_CHECKING:
    from pathlib import Path

# All 256 greys, and the same with 16 bits and as fractions.
RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
ORIENTATION = 0x0112


def stored(image: Image.Image, kind: str, **options: Any) -> Image.Image:
    """Write an image to a file of this kind and read it as a question's image."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return read_image(file)


def grey(image: Image.Image) -> np.ndarray:
    """Return the one channel that all three channels equal."""
    assert image.mode == "RGB"
    red, green, blue = np.moveaxis(np.asarray(image), 2, 0)
    assert (red == green).all()
    assert (red == blue).all()
    return red


@pytest.fixture
def jpeg(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    Image.effect_noise((128, 128), 80).convert("RGB").save(path)
    return path


def test_an_image_is_read_as_rgb(tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    Image.new("L", (4, 3), 200).save(path)
    image = open_image(path, 12)
    assert (image.mode, image.size, image.getpixel((0, 0))) == ("RGB", (4, 3), (200, 200, 200))


@pytest.mark.parametrize("tolerant", [True, False])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_an_image_that_was_cut_off_is_refused(
    jpeg: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, *, tolerant: bool
) -> None:
    path = jpeg.with_suffix(suffix)
    Image.open(jpeg).save(path)
    cut_off(path)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", tolerant)
    with pytest.raises(DataError, match=rf"photo\{suffix}, the image of question 12.*truncated"):
        open_image(path, 12)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is tolerant


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
def test_a_file_that_is_no_image(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"photo\.jpg.*cannot identify.*Download it again"):
        open_image(path, 12)


def test_an_image_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jpg, the image of question 12, cannot be read"):
        open_image(tmp_path / "gone.jpg", 12)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_shown_upright(kind: str, orientation: int) -> None:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    image = Image.new("RGB", (96, 64))
    image.paste((200, 30, 30), (0, 0, 48, 32))
    shown = stored(image, kind, exif=tags)
    image.getexif()[ORIENTATION] = orientation
    expected = ImageOps.exif_transpose(image)
    assert shown.size == expected.size
    assert np.abs(np.asarray(shown, int) - np.asarray(expected, int)).mean() < 5
    # Nobody who reads the tags can turn it once more.
    assert ImageOps.exif_transpose(shown).tobytes() == shown.tobytes()
    assert as_rgb(shown) is shown


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation: int) -> None:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    image = Image.fromarray(RAMP)
    assert grey(stored(image, "PNG", exif=tags)).tolist() == RAMP.tolist()


def test_broken_tags_are_ignored() -> None:
    image = Image.new("RGB", (4, 3), "red")
    assert stored(image, "PNG", exif=b"Exif\0\0II*\0broken").tobytes() == image.tobytes()


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L"])
def test_grey_with_16_bits_is_scaled(mode: str) -> None:
    order = ">u2" if mode == "I;16B" else "<u2"
    content = (RAMP.astype(np.uint16) * 257).astype(order).tobytes()
    image = Image.frombytes(mode, (16, 16), content)
    assert grey(as_rgb(image)).tolist() == RAMP.tolist()


def test_a_png_with_16_bits_equals_the_one_with_8() -> None:
    image = Image.fromarray(RAMP.astype(np.uint16) * 257)
    assert grey(stored(image, "PNG")).tolist() == RAMP.tolist()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (RAMP.astype(np.int32), RAMP),
        (RAMP.astype(np.int32) * 257, RAMP),
        (RAMP.astype(np.int32) * 100_000, RAMP),
        (RAMP.astype(np.int32) - 255, RAMP),
        (RAMP.astype(np.float32) / 255, RAMP),
        (RAMP.astype(np.float32), RAMP),
        (RAMP.astype(np.float32) * 257, RAMP),
        (RAMP.astype(np.float32) * 1e6, RAMP),
    ],
)
def test_deep_pixels_use_black_to_white(values: Any, expected: Any) -> None:
    assert grey(stored(Image.fromarray(values), "TIFF")).tolist() == expected.tolist()


def test_deep_pixels_that_would_be_one_grey_are_spread(caplog: pytest.LogCaptureFixture) -> None:
    values = RAMP.astype(np.uint16) // 4
    shown = grey(stored(Image.fromarray(values), "PNG"))
    assert (shown.min(), shown.max()) == (0, 255)
    assert "values from 0 to 63 alone" in caplog.text


def test_pixels_that_are_no_numbers() -> None:
    values = RAMP.astype(np.float32) / 255
    values[0, 1] = np.nan
    assert grey(as_rgb(Image.fromarray(values)))[0].tolist() == [0, 0, *range(2, 16)]
    with pytest.raises(UnreadableImageError, match="none of its pixels is a finite number"):
        as_rgb(Image.fromarray(np.full((2, 2), np.inf, np.float32)))


def shape(colour: tuple[int, int, int], *, visible: int = 255) -> Image.Image:
    """Return a square of a colour on transparent pixels of the same colour."""
    image = Image.new("RGBA", (8, 8), (*colour, 0))
    image.paste((*colour, visible), (2, 2, 6, 6))
    return image


@pytest.mark.parametrize("mode", ["RGBA", "RGBa", "LA", "La", "PA", "P"])
def test_a_black_shape_on_transparent_is_black_on_white(mode: str) -> None:
    image = shape((0, 0, 0))
    if mode == "P":
        image = image.quantize(4)
    elif mode == "La":
        image = image.convert("LA").convert("La")
    elif mode == "PA":
        image = Image.merge("LA", [Image.new("L", (8, 8), 3), image.getchannel("A")])
        image = Image.frombytes("PA", (8, 8), image.tobytes())
        image.putpalette([0, 0, 0] * 256)
    else:
        image = image.convert(mode)
    shown = grey(as_rgb(image))
    assert (shown[0, 0], shown[4, 4]) == (255, 0)
    assert (shown == 0).sum() == 16


@pytest.mark.parametrize("colour", [0, (0, 0, 0)])
def test_a_colour_that_stands_for_transparent(colour: Any) -> None:
    mode = "L" if colour == 0 else "RGB"
    image = Image.new(mode, (4, 4), colour)
    image.paste("#808080" if mode == "RGB" else 128, (0, 0, 2, 2))
    shown = grey(stored(image, "PNG", transparency=colour))
    assert (shown[0, 0], shown[3, 3]) == (128, 255)


def test_a_white_shape_on_transparent_is_white_on_black() -> None:
    shown = grey(stored(shape((255, 255, 255)), "PNG"))
    assert (shown[0, 0], shown[4, 4]) == (0, 255)


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    assert grey(as_rgb(shape((0, 0, 0), visible=128)))[4, 4] == 127


def test_transparency_that_nobody_filled_is_ignored() -> None:
    image = Image.fromarray(RAMP).convert("RGB")
    image.putalpha(0)
    assert grey(as_rgb(image)).tolist() == RAMP.tolist()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"])
def test_other_modes_are_those_of_pillow(mode: str) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8))
    image = image.convert(mode)
    assert as_rgb(image).tobytes() == image.convert("RGB").tobytes()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_the_first_frame_is_shown(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    shown = stored(frames[0], kind, save_all=True, append_images=frames[1:])
    red, _, blue = shown.getpixel((4, 4))
    assert (red > 200, blue < 60) == (True, True)


def test_an_image_without_pixels() -> None:
    with pytest.raises(UnreadableImageError, match=r"it has no pixels \(0 x 5\)"):
        as_rgb(Image.new("RGB", (0, 5)))


@pytest.mark.parametrize("limit", [None, 100])
def test_the_largest_image_is_ours_to_set(
    monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    assert stored(Image.fromarray(RAMP), "PNG").size == (16, 16)
    monkeypatch.setattr("moe_eval_plugin.vqa.images.MOST_PIXELS", 255)
    with pytest.raises(UnreadableImageError, match="16 x 16 pixels; 255 is the limit"):
        stored(Image.fromarray(RAMP), "PNG")
    assert limit == Image.MAX_IMAGE_PIXELS
    assert MOST_PIXELS > 178_000_000


def test_a_program_is_not_run() -> None:
    with pytest.raises(UnreadableImageError, match="a program that would have to be run"):
        stored(Image.new("RGB", (4, 3)), "EPS")


def test_one_colour_that_was_not_in_the_file_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    image = Image.new("HSV", (2, 1), (0, 0, 0))
    image.putpixel((0, 0), (90, 200, 0))
    as_rgb(image)
    assert "mode HSV with 2 x 1 pixels is shown as one colour, (0, 0, 0)" in caplog.text


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_tiff_file_on_its_side_is_read_by_its_path(tmp_path: Path, kind: Any) -> None:
    """Pillow reads the rows of such a file with the length of its columns."""
    tags = Image.Exif()
    tags[ORIENTATION] = 6
    pixels = np.arange(12, dtype=kind).reshape(3, 4)
    Image.fromarray(pixels * kind(257) if kind is np.uint16 else pixels).save(
        tmp_path / "a.tiff", exif=tags
    )
    assert grey(read_image(tmp_path / "a.tiff")).tolist() == np.rot90(pixels, -1).tolist()


def test_a_file_is_decoded_once_in_a_block(jpeg: Path) -> None:
    content = jpeg.read_bytes()
    with decoding_once():
        once = read_image(jpeg)
        assert read_image(jpeg) is once
        of_bytes = read_image(io.BytesIO(content))
        assert read_image(io.BytesIO(content)) is of_bytes
    assert read_image(jpeg) is not once
    assert read_image(jpeg).tobytes() == once.tobytes() == of_bytes.tobytes()
