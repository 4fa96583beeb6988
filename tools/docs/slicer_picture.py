"""The picture in integration.md: a CT slice, its caption, overlays of single words, from the Slicer module's logic.

.venv/bin/python tools/docs/slicer_picture.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import pydicom  # noqa: E402
import slicer  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "integrations" / "slicer" / "ImageCaptioning" / "ImageCaptioning"))

from ImageCaptioningLib.local import LocalWorker  # noqa: E402
from ImageCaptioningLib.logic import NOTICE, CaptionLogic  # noqa: E402
from ImageCaptioningLib.overlay import heat  # noqa: E402
from ImageCaptioningLib.scene import CLEAR_BELOW  # noqa: E402

TARGET = ROOT / "docs" / "images" / "integration" / "slicer_slice.png"
WORDS = 3


def main() -> None:
    mrml = slicer.vtkMRMLScene()
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(mrml)
    volumes = slicer.vtkSlicerVolumesLogic()
    volumes.SetMRMLScene(mrml)
    path = Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm"
    volume = volumes.AddArchetypeVolume(str(path), "CT_small", 0)
    display = volume.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetLevel(40)
    display.SetWindow(400)
    view = mrml.AddNewNodeByClass("vtkMRMLSliceNode", "Red")
    view.SetOrientation("Axial")
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    view.JumpSliceByOffsetting(*((bounds[i] + bounds[i + 1]) / 2 for i in (0, 2, 4)))
    logic = CaptionLogic(mrml, LocalWorker(sys.executable, ROOT / "bundle"))
    draft = logic.caption(volume, view, explain=True)
    draw(draft)
    logic.close()
    print(f"{TARGET.relative_to(ROOT)}: {draft.text}")


def draw(draft: object) -> None:
    """The slice, and the longest words' overlays."""
    pixels = draft.picture.pixels
    chosen = sorted(sorted(range(len(draft.words)), key=lambda i: -len(draft.words[i]))[:WORDS])
    figure, axes = plt.subplots(1, WORDS + 1, figsize=(3 * (WORDS + 1), 3.7))
    window = "/".join(f"{value:g}" for value in draft.picture.window)
    titles = [f"{draft.picture.orientation}, window {window}"] + [draft.words[i].strip("()[],.;:") for i in chosen]
    for axis, title, word in zip(axes, titles, [None, *chosen], strict=True):
        axis.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        if word is not None:
            values = heat(draft.reply, pixels.shape, word)
            alpha = 0.5 * (values >= CLEAR_BELOW / 100)  # as Slicer draws it: a threshold, half transparent above
            axis.imshow(values, cmap="inferno", alpha=alpha, vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(title, fontsize=11)
        axis.axis("off")
    figure.text(0.5, 0.08, f"“{draft.text}”   confidence {draft.confidence:.2f}", ha="center", fontsize=11)
    figure.text(0.5, 0.01, NOTICE, ha="center", fontsize=9, color="0.4")
    figure.tight_layout(rect=(0, 0.11, 1, 1))
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(TARGET, dpi=90)


if __name__ == "__main__":
    main()
