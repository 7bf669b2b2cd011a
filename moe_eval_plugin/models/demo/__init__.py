"""The embedded demo model: a small, trained Qwen3-VL-MoE that answers easy-VQA.

``pretrained=demo`` names it. Its card is ``model/README.md``; ``train.py`` made it.
"""

from pathlib import Path

MODEL_PATH = Path(__file__).parent / "model"
