"""Writes the card with which the bundle stands on the Hugging Face hub, and the picture of its widget.

    PYTHONPATH=bundle python tools/hub_card.py dist/hub

The text is the model card of ``bundle/docs``, so that nothing is said twice. Its figures become the card's results.
``hf upload OWNER/NAME bundle .`` and ``hf upload OWNER/NAME dist/hub .`` publish the bundle; then
``CaptionPredictor.from_bundle("OWNER/NAME")`` loads it.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bundle"))
from scripts.commands.samples import write_samples  # noqa: E402
from scripts.transforms.preprocessing import Preprocessing  # noqa: E402

MODEL_CARD = ROOT / "bundle" / "docs" / "README.md"
METRICS = {  # row of the table of figures -> the hub's name of the metric
    "plane": "accuracy",
    "modality family (CT, MR, X-ray, ...)": "accuracy",
    "organ": "accuracy",
    "abnormality": "accuracy",
    "BLEU-4": "bleu",
    "METEOR": "meteor",
    "ROUGE-L": "rouge",
    "CIDEr-D": "cider",
}
TAGS = [
    "monai",
    "medical",
    "radiology",
    "image-captioning",
    "q-former",
    "blip-2",
    "segment-anything",
    "ct",
    "mri",
    "x-ray",
]
LOADING = """## One line

```python
from scripts.predictor import CaptionPredictor  # the bundle's folder is on the path

print(CaptionPredictor.from_bundle("OWNER/NAME").caption("image.dcm").text)
```

"""


def results(model_card: str) -> list[EvalResult]:
    """The starter's figures in the table between the card's marks.

    Raises:
        ValueError: a row that `METRICS` names is not in the table.
    """
    table = re.search(r"<!-- figures -->(.*?)<!-- /figures -->", model_card, re.DOTALL)[1]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()]
    figures = {row[0]: float(row[1].split()[0]) for row in cells[2:]}
    if absent := [name for name in METRICS if name not in figures]:
        raise ValueError(f"{MODEL_CARD}: the table of figures has no row {absent[0]!r}")
    where = {
        "task_type": "image-to-text",
        "dataset_type": "medcap-open",
        "dataset_name": "medcap-open (VQA-Med 2019, VQA-RAD)",
    }
    return [
        EvalResult(metric_type=kind, metric_name=name, metric_value=figures[name], dataset_split="validation", **where)
        for name, kind in METRICS.items()
    ]


def card(model_card: str) -> ModelCard:
    """The hub's card: what machines read in front of the model card's text."""
    data = ModelCardData(
        model_name="MSMedCap starter",
        license="apache-2.0",
        language="en",
        library_name="monai",
        pipeline_tag="image-to-text",
        tags=TAGS,
        eval_results=results(model_card),
        widget=[{"src": "ct_head.png", "example_title": "CT of the head"}],
        inference=False,
    )
    text = model_card.replace("\n## Authors", "\n" + LOADING + "## Authors", 1)
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}")


def picture(path: Path) -> None:
    """A sample image as the network sees it."""
    with tempfile.TemporaryDirectory() as folder:
        write_samples(folder)
        pixels, _ = Preprocessing.standard().load(str(Path(folder) / "ct_head.dcm"))
    Image.fromarray((pixels[0].numpy() * 255).round().astype("uint8")).save(path, optimize=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder of README.md and of the widget's picture")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    made = card(MODEL_CARD.read_text(encoding="utf-8"))
    (given.output / "README.md").write_text(str(made), encoding="utf-8")
    picture(given.output / "ct_head.png")
    print(f"{given.output}: the hub's card and its picture")
    return 0


if __name__ == "__main__":
    sys.exit(main())
