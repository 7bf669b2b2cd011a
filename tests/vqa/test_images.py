from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageFile

from moe_eval_plugin.errors import DataError
from moe_eval_plugin.vqa.images import open_image
from tests.vqa.vqa_files import cut_off

if TYPE_CHECKING:
    from pathlib import Path


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
