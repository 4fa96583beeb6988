"""Looking at a datalist before training on it: a page, a picture, and the counts as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from scripts.atomic import write_text_atomically
from scripts.data.look.survey import ODD, Survey, survey_datalist
from scripts.data.look.survey_page import page_of
from scripts.data.look.survey_picture import draw_survey

__all__ = ["look", "survey_datalist"]


def look(file: str | Path, output: str | Path, *, dataset_dir: str | Path | None = None, images: int = 500) -> str:
    """Write ``look.html``, ``look.png`` and ``look.json`` into ``output``; returns what a terminal shows.

    Args:
        file: the datalist.
        output: folder, made where it is not there.
        dataset_dir: folder of the images; the datalist's own by default.
        images: so many drawn images are opened; 0 opens all.

    Raises:
        InputError: the datalist cannot be read.
    """
    file, output = Path(file), Path(output)
    survey = survey_datalist(file, dataset_dir or file.parent, images=images)
    output.mkdir(parents=True, exist_ok=True)
    title = f"{file.name}: {sum(part.entries for part in survey.sections.values()):,} entries"
    draw_survey(survey, output / "look.png", title)
    write_text_atomically(output / "look.html", page_of(survey, title, output / "look.png"))
    write_text_atomically(output / "look.json", json.dumps(_counts(survey), indent=1) + "\n")
    return "\n".join([title, *_lines(survey), f"look at {output / 'look.html'}"])


def _counts(survey: Survey) -> dict[str, object]:
    sections = {
        name: {
            "entries": part.entries, "images": part.images, "groups": part.groups, "odd captions": dict(part.odd),
            "modalities": dict(part.modalities), "words": sum(part.lengths),
        }
        for name, part in survey.sections.items()
    }  # fmt: skip
    return {
        "sections": sections,
        "words": dict(survey.words.most_common(200)),
        "opened": survey.opened,
        "unreadable": survey.unreadable,
        "equal files": survey.duplicates,
        "provenance": survey.provenance,
    }


def _lines(survey: Survey) -> list[str]:
    lines = []
    for name, part in survey.sections.items():
        odd = ", ".join(f"{count:,} {ODD[kind]}" for kind, count in part.odd.most_common() if count)
        lines.append(f"{name}: {part.entries:,} entries, {part.groups:,} groups" + (f"; captions {odd}" if odd else ""))
    lines.append(
        f"opened {survey.opened}: {len(survey.unreadable)} cannot be read, {len(survey.duplicates)} sets of equal files"
    )
    return lines
