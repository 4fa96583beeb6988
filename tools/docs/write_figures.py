"""Put the figures of an evaluation into the pages that quote them.

.venv/bin/python tools/docs/write_figures.py runs/starter/evaluate/evaluation.json

Rewrites the table between ``<!-- figures -->`` and ``<!-- /figures -->`` in README.md, docs/results.md and the model
card, and ``eval_metrics`` of the bundle's metadata, so that no figure is typed by hand.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/results.md", "bundle/docs/README.md")
START, END = "<!-- figures -->", "<!-- /figures -->"
ROWS = {
    "plane": "plane",
    "modality": 'modality (exact, e.g. "T2-weighted MRI")',
    "modality family": "modality family (CT, MR, X-ray, ...)",
    "organ": "organ",
    "abnormality": "abnormality",
    "BLEU-4": "BLEU-4",
    "METEOR": "METEOR",
    "ROUGE-L": "ROUGE-L",
    "CIDEr-D": "CIDEr-D",
    "distinct captions": "distinct captions",
    "verbatim in training": "verbatim in training",
    "looped words": "looped words",
}
SYSTEMS = {
    "predictions": "starter",
    "starter with archive": "starter with archive",
    "method alone": "method alone",
    "concept reader alone": "concept reader alone",
    "commonest caption": "commonest caption",
    "1-nearest neighbour": "1-nearest neighbour",
}


def number(value: float) -> str:
    """``.656`` or ``1.186``."""
    text = f"{value:.3f}"
    return text.removeprefix("0") if value < 1 else text


def cell(score: dict | None, *, interval: bool) -> str:
    if score is None:
        return "-"
    text = number(score["value"])
    if interval and score.get("low") is not None:
        text += f" [{number(score['low'])}, {number(score['high'])}]"
    return text


def table(evaluation: dict) -> str:
    """The Markdown table; intervals for the starter only, so that it can be read."""
    scores = {name: {s["name"]: s for s in found} for name, found in evaluation["systems"].items()}
    shown = [name for name in SYSTEMS if name in scores]
    lines = ["| | " + " | ".join(SYSTEMS[name] for name in shown) + " |", "|---|" + "---:|" * len(shown)]
    for key, label in ROWS.items():
        cells = [cell(scores[name].get(key), interval=name == "predictions") for name in shown]
        if any(key in scores[name] for name in shown):
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_metrics(evaluation: dict, path: Path) -> None:
    """Put the scores that ``metadata.json`` has into it anew."""
    metadata = json.loads(path.read_text(encoding="utf-8"))
    scores = {score["name"]: score["value"] for score in evaluation["systems"]["predictions"]}
    metadata["eval_metrics"] = {name: round(scores[name], 3) for name in metadata["eval_metrics"]}
    path.write_text(json.dumps(metadata, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not Path(arguments[0]).is_file():
        print("usage: tools/docs/write_figures.py EVALUATION.json (written by configs/evaluate.json)", file=sys.stderr)
        return 2
    evaluation = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    write_metrics(evaluation, ROOT / "bundle" / "configs" / "metadata.json")
    made = table(evaluation)
    for name in PAGES:
        page = ROOT / name
        text = page.read_text(encoding="utf-8")
        before, _, rest = text.partition(START)
        _, found, after = rest.partition(END)
        if not found:
            print(f"{name} has no {START} ... {END}", file=sys.stderr)
            return 1
        page.write_text(f"{before}{START}\n{made}\n{END}{after}", encoding="utf-8")
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
