"""``report.html``: every case of a run with its picture, caption, certainty word by word, maps and trace.

One page that opens from a file, without a server and without a network; pictures lie in ``report_files`` beside it and
load when they come into view. Captions and paths reach the page as data, never as markup.
"""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from scripts.atomic import write_atomically, write_text_atomically
from scripts.confidence.doubts import doubts_of
from scripts.data.record_lines import json_text
from scripts.outputs.captioned_case import CaptionedCase
from scripts.outputs.record import source_name

ASSETS = Path(__file__).parent / "html_assets"
THUMBNAIL, PICTURE = 128, 512
QUALITY = 88  # of the JPEG copies; the trace names the pixels that the network saw
FLAT = 1.02  # a map whose peak is less than this times its mean prefers no place
MAX_VIEWS = 8  # pictures a case; the network saw all
SHARED = ("config", "settings", "sources", "network", "versions", "threads", "processor", "generation", "prompt")


class HtmlWriter:
    """Writes ``report.html`` and ``report_files/``.

    Args:
        output_dir: folder of both.
        title: heading of the page.
    """

    def __init__(self, *, output_dir: Path, title: str = "Captions") -> None:
        self.folder = Path(output_dir)
        self.title = str(title)
        self.cases: list[dict[str, Any]] = []
        self.run: dict[str, Any] = {}

    def add(self, case: CaptionedCase) -> list[Path]:
        """Write the pictures and maps of one case."""
        number = len(self.cases)
        record = case.record
        files = self._pictures(case.image, number)
        entry = {
            "name": Path(source_name(case.source)).name,
            "image": case.source,
            "pictures": [f"report_files/{path.name}" for path in files],
            "words": words_of(record.get("tokens") or (), record.get("token_logprobs") or ()),
            "input": record.get("trace", {}).get("input", {}),
            "prompt": record.get("prompt") or "",
            **{key: record.get(key) for key in ("caption", "agreement", "abstained", "withheld", "modality", "window")},
            **{key: record.get(key) for key in ("slice", "notes", "error")},
            **{key: record.get(key) if record.get("caption") else None for key in ("findings", "similar")},
            "doubts": doubts_of(record).told(),
            "output_errors": record.get("output_errors"),
        }
        self._note_run(record)
        if case.explanation is not None and not record.get("abstained"):
            path = self.folder / "report_files" / f"{number:05d}.js"
            entry["words"], maps = _explained(case.explanation)
            entry["maps"] = f"report_files/{path.name}"
            files.append(write_text_atomically(path, f"addMaps({number},{_script_json(maps)});\n"))
        self.cases.append(entry)
        return files

    def note(self) -> dict[str, Any]:
        """What the page tells of the last case."""
        return self.cases[-1]

    def recall(self, case: CaptionedCase, note: dict[str, Any] | None) -> None:
        """Go on after a case of an interrupted run."""
        if note is not None:
            self._note_run(case.record)
            self.cases.append(note)

    def _note_run(self, record: Mapping[str, Any]) -> None:
        if not self.run:
            trace = record.get("trace", {})
            self.run = {key: record.get(key) for key in ("model_version", "weights")}
            self.run |= {key: trace[key] for key in SHARED if key in trace}

    def _pictures(self, image: Tensor | None, number: int) -> list[Path]:
        """A thumbnail of the first view, and every view (up to `MAX_VIEWS`) as the network saw it."""
        if image is None:
            return []
        folder = self.folder / "report_files"
        paths = []
        for view, pixels in enumerate(image[:MAX_VIEWS]):
            picture = _picture(pixels)
            if view == 0:
                paths.append(folder / f"{number:05d}_small.jpg")
                _save(picture, THUMBNAIL, paths[-1], quality=80)
            paths.append(folder / f"{number:05d}_{view}.jpg")
            _save(picture, PICTURE, paths[-1], quality=QUALITY)
        return paths

    def finish(self) -> list[Path]:
        """Write ``report.html``."""
        page = (ASSETS / "report.html").read_text(encoding="utf-8").replace("%%TITLE%%", html.escape(self.title))
        parts = {
            "STYLE": (ASSETS / "report.css").read_text(encoding="utf-8"),
            "DATA": _script_json({"title": self.title, "run": self.run, "cases": self.cases}),
            "SCRIPT": (ASSETS / "report.js").read_text(encoding="utf-8"),
        }
        for name, text in parts.items():
            before, _, after = page.partition(f"%%{name}%%")
            page = before + text + after
        path = write_text_atomically(self.folder / "report.html", page)
        self.cases, self.run = [], {}
        return [path]


def words_of(tokens: Sequence[str], logprobs: Sequence[float]) -> list[list[Any]]:
    """``[text, probability]`` of each word: its tokens' probabilities multiplied. The end of the caption is no word.

    Args:
        tokens: text of each token; one that begins with a space begins a word.
        logprobs: natural log-probability of each.
    """
    words: list[list[Any]] = []
    for text, logprob in zip(tokens, logprobs, strict=False):
        if not text:
            continue
        if not words or text[:1].isspace():
            words.append([text.strip(), 0.0])
        else:
            words[-1][0] += text
        words[-1][1] += logprob
    return [[text, round(math.exp(value), 4)] for text, value in words]


def _explained(explanation: Any) -> tuple[list[list[Any]], dict[str, Any]]:
    """Words with probabilities, and by branch each word's map as bytes (0 its mean or less, 255 its peak) and share.

    A word that names nothing visible has null in the place of a map.
    """
    from scripts.explanation.words import content_words

    visible = set(content_words(explanation.words))
    words = [[word, round(math.exp(p), 4)] for word, p in zip(explanation.words, explanation.logprobs, strict=True)]
    maps = {}
    for branch, stack in explanation.maps.items():
        scaled = _heat(torch.nan_to_num(stack.detach().float().cpu()))
        maps[branch] = {
            "size": list(stack.shape[-2:]),
            "words": [
                base64.b64encode(word.numpy().tobytes()).decode("ascii") if place in visible else None
                for place, word in enumerate(scaled)
            ],
            "share": [round(float(value), 3) for value in explanation.share[branch]],
        }
    return words, maps


def _heat(maps: Tensor) -> Tensor:
    """Maps ``[W, ...]`` -> bytes: what lies above a map's own mean; nothing where it prefers no place."""
    flat = maps.flatten(1)
    mean, peak = flat.mean(dim=1, keepdim=True), flat.amax(dim=1, keepdim=True)
    level = ((flat - mean) / (peak - mean).clamp(min=1e-12)).clamp(0, 1) * (peak >= FLAT * mean)
    return (level * 255).round().to(torch.uint8).view_as(maps)


def _picture(pixels: Tensor) -> Image.Image:
    """``[3, S, S]`` in [0, 1] -> picture; grey where the channels are equal."""
    values = (pixels.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    if bool((values[0] == values[1]).all() and (values[0] == values[2]).all()):
        return Image.fromarray(values[0].numpy())
    return Image.fromarray(values.permute(1, 2, 0).contiguous().numpy())


def _save(picture: Image.Image, side: int, path: Path, *, quality: int) -> None:
    """Write a JPEG of at most ``side`` pixels."""
    small = picture if max(picture.size) <= side else picture.resize((side, side), Image.Resampling.LANCZOS)
    write_atomically(path, lambda file: small.save(file, "JPEG", quality=quality))


def _script_json(value: Mapping[str, Any]) -> str:
    """JSON that may stand inside a ``<script>``: nothing in it can end the element or start markup."""
    text = json_text(value, separators=(",", ":"))
    for character in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
