"""The pictures of the Slicer extension: its panel, light and dark, and what single words of a real caption rest on.

.venv/bin/python tools/docs/slicer_panel.py

The panel is the extension's own, loaded from its ``.ui`` files into PySide6, off screen; Slicer's and CTK's widgets are
the tests' stand-ins. Caption, doubts and maps are the shipped model's.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "integrations" / "slicer" / "ImageCaptioning"
TARGET = EXTENSION / "Screenshots"
sys.path[:0] = [str(EXTENSION / "ImageCaptioning"), str(ROOT / "tests" / "integrations" / "slicer_module"),
                str(ROOT / "bundle")]  # fmt: skip

import matplotlib  # noqa: E402

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import pydicom  # noqa: E402
import pytest  # noqa: E402
from desktop import Desktop, desktop  # noqa: E402
from ImageCaptioningLib import overlay, scene  # noqa: E402
from ImageCaptioningLib.captioners import choices  # noqa: E402
from ImageCaptioningLib.captioners.local import LocalWorker  # noqa: E402
from ImageCaptioningLib.drafts import NOTICE, Draft  # noqa: E402
from PySide6 import QtGui, QtWidgets  # noqa: E402
from pythonqt import application  # noqa: E402
from scenes import Scene  # noqa: E402

IMAGE, WINDOW, WORDS, WIDTH = "CT_small.dcm", (40, 400), 3, 430
DARK = {"Window": "#35363a", "WindowText": "#e8e8e8", "Base": "#25262a", "AlternateBase": "#2d2e33", "Text": "#e8e8e8",
        "Button": "#45464b", "ButtonText": "#e8e8e8", "PlaceholderText": "#8a8b90", "Highlight": "#3d7ec8",
        "HighlightedText": "#ffffff", "ToolTipBase": "#45464b", "ToolTipText": "#e8e8e8"}  # fmt: skip


def main() -> None:
    """Draw all pictures."""
    app = application()
    app.setStyle(QtWidgets.QStyleFactory.create("Fusion"))
    TARGET.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        place = _scene()
        worker = LocalWorker(sys.executable, ROOT / "bundle")
        patch.setattr(choices.Choice, "backend", lambda self, installation: worker)
        plain = app.palette()
        for name, palette in (("panel_light", plain), ("panel_dark", _dark())):
            app.setPalette(palette)
            with desktop(place, Path(folder), patch) as shown:
                draft = _use(shown)
                _grab(shown, TARGET / f"{name}.png")
        _draw(draft, worker, TARGET / "words.png")
        worker.close()
    print(f"{TARGET.relative_to(ROOT)}: {draft.text}")


def _scene() -> Scene:
    """A real CT slice of pydicom's package on screen."""
    place = Scene()
    volume = place.load(Path(pydicom.__file__).parent / "data" / "test_files" / IMAGE, window=WINDOW)
    volume.SetName(IMAGE)
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    place.look("Axial", tuple((bounds[i] + bounds[i + 1]) / 2 for i in (0, 2, 4)))
    return place


def _use(shown: Desktop) -> Draft:
    """Caption the slice, accept it, press a word."""
    panel = shown.panel
    panel.ui.captionerBox.collapsed = True
    shown.window.resize(WIDTH, 900)
    shown.window.show()
    application().processEvents()
    panel.ui.windowComboBox.setCurrentIndex(1)
    print(shown.press(panel.ui.captionButton))
    shown.press(panel.caption_ui.acceptButton)
    chosen = max(range(1, len(panel.caption.words.buttons)), key=lambda i: len(panel.caption.words.buttons[i].text))
    panel.caption.words.buttons[chosen].click()
    assert scene.captions_of(shown.place.mrml, panel.volume)
    return panel.caption.draft


def _grab(shown: Desktop, path: Path) -> None:
    application().processEvents()
    shown.window.resize(WIDTH, shown.window.sizeHint().height())
    application().processEvents()
    shown.window.grab().save(str(path))


def _dark() -> QtGui.QPalette:
    palette = QtGui.QPalette()
    for role, colour in DARK.items():
        palette.setColor(getattr(QtGui.QPalette, role), QtGui.QColor(colour))
    for role in ("WindowText", "Text", "ButtonText"):
        palette.setColor(QtGui.QPalette.Disabled, getattr(QtGui.QPalette, role), QtGui.QColor("#77787d"))
    return palette


def _draw(draft: Draft, worker: LocalWorker, path: Path) -> None:
    """The slice, and of its longest words the maps and SAM's regions, as the views show them."""
    pixels = draft.picture.pixels
    chosen = sorted(sorted(range(len(draft.words)), key=lambda i: -len(draft.words[i]))[:WORDS])
    figure, axes = plt.subplots(1, WORDS + 1, figsize=(3 * (WORDS + 1), 3.7))
    titles = [draft.picture.orientation]
    titles += [draft.words[i].strip("()[],.;:") for i in chosen]
    for axis, title, word in zip(axes, titles, [None, *chosen], strict=True):
        axis.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        if word is not None:
            heat = overlay.heat(draft.reply, pixels.shape, word)
            alpha = 0.5 * (heat >= scene.CLEAR_BELOW / 100)
            axis.imshow(heat, cmap="inferno", alpha=alpha, vmin=0, vmax=1, interpolation="nearest")
            drawn = overlay.drawn_region(draft.reply, pixels.shape, worker.region(draft.id, word))
            if drawn.any():
                axis.contour(drawn.astype(np.uint8), [0.5], colors="#4fc3f7", linewidths=1)
        axis.set_title(title, fontsize=11)
        axis.axis("off")
    figure.text(0.5, 0.08, f"“{draft.text}”", ha="center", fontsize=11)
    figure.text(0.5, 0.01, NOTICE, ha="center", fontsize=9, color="0.4")
    figure.tight_layout(rect=(0, 0.11, 1, 1))
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
