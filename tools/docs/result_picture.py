"""Draw ``docs/images/captions.png``: the sample images as the network sees them, each with its caption.

.venv/bin/python tools/docs/result_picture.py runs/caption/captions.jsonl docs/images/captions.png
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bundle"))
from scripts.confidence.doubts import doubts_of  # noqa: E402
from scripts.transforms import LoadCased, WindowToUnitd  # noqa: E402


def draw(records: list[dict], output: Path) -> None:
    figure, axes = plt.subplots(1, len(records), figsize=(4 * len(records), 4.7), facecolor="white")
    for axis, record in zip(axes, records, strict=True):
        item = WindowToUnitd("image")(LoadCased("image")({"image": record["image"]}))
        axis.imshow(item["image"].squeeze(0).permute(1, 2, 0).numpy())
        axis.set_axis_off()
        axis.set_title(Path(record["image"]).name, fontsize=10, color="#555555")
        doubts = doubts_of(record).text.replace("; ", "\n")
        said = f"{textwrap.fill(record['caption'], 36)}\n{doubts}" if record["caption"] else None
        text = said or textwrap.fill(f"withheld: {record['withheld']}", 36)
        axis.text(0.5, -0.04, text, transform=axis.transAxes, ha="center", va="top", fontsize=11)
    figure.tight_layout(rect=(0, 0.16, 1, 0.96))
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=90)


def main() -> None:
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    draw([record for record in map(json.loads, lines) if record["error"] is None], Path(sys.argv[2]))


if __name__ == "__main__":
    main()
