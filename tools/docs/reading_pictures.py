"""Makes the pictures of docs/reading.md from files that come with pydicom, and from one film drawn here.

.venv/bin/python tools/docs/reading_pictures.py [--out docs/images/reading]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bundle"), str(ROOT / "tests" / "reading")]

import made_files  # noqa: E402
import matplotlib  # noqa: E402
import numpy as np  # noqa: E402
import pydicom  # noqa: E402
import torch  # noqa: E402

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from scripts.reading import read_case  # noqa: E402
from scripts.windowing import CT_PRESETS, letterbox, window_image  # noqa: E402
from scripts.windowing.letterbox import pixel_aspect  # noqa: E402

PACKAGED = Path(pydicom.__file__).parent / "data" / "test_files"
HEAD, CHEST = PACKAGED / "693_J2KI.dcm", PACKAGED / "CT_small.dcm"
Panel = tuple[str, np.ndarray]


def panel(path: Path, title: str, window: str = "auto", size: int = 256, **options: object) -> Panel:
    """(title, ``[size, size, 3]``) of a file, as the network gets it."""
    case = read_case(path, **options)  # type: ignore[arg-type]
    shown, description = window_image(case.pixels, case.meta, window)
    boxed, _ = letterbox(torch.from_numpy(shown.copy()), size, aspect=pixel_aspect(case.meta))
    return title.format(description["text"].replace(" (", "\n(")), boxed[0].permute(1, 2, 0).numpy()


def sheet(panels: list[Panel], columns: int, target: Path) -> None:
    """Panels in rows, titles above, as a PNG."""
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(2.6 * columns, 2.9 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, (title, image) in zip(axes.flat, panels, strict=False):
        axis.imshow(image, vmin=0, vmax=1)
        axis.set_title(title, fontsize=8, wrap=True)
    figure.tight_layout()
    figure.savefig(target, dpi=90, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    print(target)


def film(folder: Path) -> Path:
    """A drawn computed radiograph, MONOCHROME1, 12 bits: bones absorb, so their stored values are high, shown bright
    only when read right; the collimator leaves a blank border."""
    y, x = np.mgrid[0:480, 0:400]
    dose = 600 + 500 * (np.abs(x - 200) < 120 - 0.05 * y)
    for k in range(5):  # fingers of a hand, two bones each
        for top, bottom in ((70 + 12 * abs(k - 2), 190), (205, 300)):
            half = 9 + 3 * np.cos((y - top) / (bottom - top) * 2 * np.pi)
            dose = dose + 900 * ((np.abs(x - 110 - 45 * k) < half) & (y > top) & (y < bottom))
    dose = dose + 900 * (np.hypot((x - 200) / 90, (y - 350) / 40) < 1) + np.random.default_rng(0).normal(0, 25, x.shape)
    dose[:40], dose[-30:], dose[:, :30], dose[:, -30:] = 4095, 4095, 4095, 4095
    stored = 4095 - np.clip(4095 - dose, 0, 4095)
    made = made_files.dataset(4095 - stored, modality="CR", stored=12, photometric="MONOCHROME1")
    return made_files.save(folder / "film.dcm", made)


def film_panels(path: Path) -> list[Panel]:
    """What a reader that ignores MONOCHROME1 shows, and ours."""
    stored = pydicom.dcmread(path).pixel_array / 4095
    naive, _ = letterbox(torch.from_numpy(stored[None, None].repeat(3, 1)).float(), 256)
    return [("stored values (MONOCHROME1 ignored)", naive[0].permute(1, 2, 0).numpy()), panel(path, "read: {}")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "reading")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name, path in (("head", HEAD), ("chest", CHEST)):
        presets = [panel(path, "{}", preset) for preset in CT_PRESETS]
        sheet(presets, 6, out / f"ct_presets_{name}.png")
    composites = [panel(CHEST, "lung, mediastinum, bone\nas red, green, blue", "composite"),
                  panel(HEAD, "brain, subdural, bone\nas red, green, blue", "composite_head"),
                  panel(CHEST, "auto: {}"), panel(HEAD, "auto: {}")]  # fmt: skip
    sheet(composites, 4, out / "ct_composites.png")
    magnetic = PACKAGED / "examples_overlay.dcm"
    sheet([panel(magnetic, "auto: {}"), panel(magnetic, "{}", "n4")], 2, out / "mr.png")
    with tempfile.TemporaryDirectory() as folder:
        sheet(film_panels(film(Path(folder))), 2, out / "cr_monochrome1.png")
    palette = PACKAGED / "examples_palette.dcm"
    indices = pydicom.dcmread(palette).pixel_array / 255
    raw, _ = letterbox(torch.from_numpy(indices[None, None].repeat(3, 1)).float(), 256)
    sheet([("palette indices taken for grey", raw[0].permute(1, 2, 0).numpy()), panel(palette, "read: {}"),
           panel(palette, "with mask_text=True", mask_text=True),
           panel(PACKAGED / "examples_ybr_color.dcm", "YBR cine, middle frame")], 4, out / "us.png")  # fmt: skip


if __name__ == "__main__":
    main()
