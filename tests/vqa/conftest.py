from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.vqa.checked_okvqa import ANNOTATIONS, FILES, QUESTIONS
from tests.vqa.vqa_files import (
    write_complete,
    write_official,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def whole_okvqa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole OK-VQA, not to be changed."""
    okvqa_folder = tmp_path_factory.mktemp("complete")
    write_complete(okvqa_folder)
    return okvqa_folder


@pytest.fixture
def okvqa_folder(whole_okvqa: Path, tmp_path: Path) -> Path:
    """A whole OK-VQA whose files may be changed; its images are those of ``complete``."""
    for name in (QUESTIONS, ANNOTATIONS):
        (tmp_path / name).write_bytes((whole_okvqa / name).read_bytes())
    (tmp_path / FILES.image_folder).symlink_to(whole_okvqa / FILES.image_folder)
    return tmp_path


@pytest.fixture
def official_folder(tmp_path: Path) -> Path:
    write_official(tmp_path)
    return tmp_path
