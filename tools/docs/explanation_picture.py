"""Draw ``docs/images/explanation.png``: what the words of one caption rest on, in an MR image that pydicom ships.

.venv/bin/python tools/docs/explanation_picture.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pydicom
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bundle"))
from scripts.outputs.overlay import OverlayWriter  # noqa: E402
from scripts.predictor import CaptionPredictor  # noqa: E402

SAMPLE = Path(pydicom.__file__).parent / "data" / "test_files" / "examples_overlay.dcm"


def main() -> None:
    predictor = CaptionPredictor.from_bundle(ROOT / "bundle", device="cpu", findings="always")
    caption = predictor.caption(SAMPLE, explain=True)
    with tempfile.TemporaryDirectory() as folder:
        (picture,) = OverlayWriter(output_dir=Path(folder), dots=90).add(caption.case)
        target = ROOT / "docs" / "images" / "explanation.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(picture).convert("RGB").quantize(192, dither=Image.Dither.NONE).save(target, optimize=True)
    print(f"{target}: {caption.text}")


if __name__ == "__main__":
    main()
