"""Accuracy and speed of Mixture-of-Experts models at a verified number of active experts."""

from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_MAPPED_FOLDERS = ("tasks", "model_adapters")

# In a checkout, tasks/ and model_adapters/ lie next to this folder and become sub-packages when
# the project is built. After a plain install, Python started in the checkout would import this
# folder without them, so the checkout is searched for them as well.
if (_ROOT / "pyproject.toml").is_file() and all(
    (_ROOT / name / "__init__.py").is_file() for name in _MAPPED_FOLDERS
):
    __path__.append(str(_ROOT))
