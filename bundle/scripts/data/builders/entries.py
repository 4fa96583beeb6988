"""Rows of a set -> datalist entries: images that exist, the caption that was asked for, views of one case together."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.data.builders.columns import Row, Template, text_of
from scripts.data.builders.embedded_pictures import extracted
from scripts.data.builders.layout import Layout
from scripts.data.builders.licences import allows_commercial_use
from scripts.data.builders.questions import answered_fields, question_text
from scripts.data.builders.rows import Rows, SetFolder
from scripts.data.builders.texts import drop_marks, report_sections, tidy
from scripts.data.composed import composed_caption
from scripts.errors import InputError

Entry = dict[str, Any]


@dataclass(frozen=True)
class CaseOptions:
    """What an entry is made of.

    Args:
        section: ``findings``, ``impression``, ``both``, or empty for the layout's own choice.
        views: ``frontal`` (each frontal image an entry), ``all`` (each image), ``case`` (all images of a case one
            entry), or empty for the layout's own choice.
        marks: ``keep`` or ``drop`` the marks of de-identification.
        min_words: captions with fewer words are left out; None takes the layout's number.
        licence: ``any``, or ``commercial`` for images whose licence allows that.
        text: of question sets, ``composed`` (one sentence of the answers) or ``questions`` (all of them).
        slices: of volumes, how many slices are the views of a case, or a rule of `scripts.reading.slices`.
        group_pattern: regular expression whose first match in an image's path is its group, where the set has none.
    """

    section: str = ""
    views: str = ""
    marks: str = "keep"
    min_words: int | None = None
    licence: str = "any"
    text: str = "composed"
    slices: str = "8"
    group_pattern: str = ""


def layout_templates(layout: Layout, language: str) -> dict[str, str]:
    """Every template of a layout by name, ``{language}`` filled in, for `Rows` to look for their columns."""
    single = ("group", "case", "source_id", "archive_id", "report", "view", "image_licence", "modality", "body_part")
    found = {name: getattr(layout, name) for name in single if getattr(layout, name)}
    found |= {f"image {number}": text for number, text in enumerate(layout.image)}
    found |= {f"caption {name}": text for name, text in layout.caption.items() if text}
    found |= {f"field {name}": text for name, text in layout.fields.items()}
    found |= {f"answer {name}": text for name, text in layout.answers.items()}
    found |= {f"rescale {number}": text for number, text in enumerate(layout.rescale)}
    if layout.split_column:
        found["split_column"] = f"{{{layout.split_column}}}"
    if layout.picture:
        found["picture"] = f"{{{layout.picture}}}"
    return {name: text.replace("{language}", language) for name, text in found.items()}


@dataclass
class Cases:
    """Makes entries of a layout's rows; counts what is left out and keeps the names of missing files.

    Args:
        layout: what columns are.
        folder: where files are; learns the counts.
        options: what an entry is made of.
    """

    layout: Layout
    folder: SetFolder
    options: CaseOptions
    templates: dict[str, Template] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    found: int = 0

    def __post_init__(self) -> None:
        layout, options = self.layout, self.options
        self._root = str(self.folder.root)
        self.views = options.views or layout.views
        self.section = options.section or layout.section
        if options.section and not layout.section:
            raise InputError(f"{layout.title} has no sections findings and impression; leave --section out.")
        if self.views == "frontal" and not layout.view:
            raise InputError(f"{layout.title} does not say which views are frontal; use --views all or case.")
        if options.licence == "commercial" and not (layout.commercial or layout.image_licence):
            raise InputError(f"{layout.title} is not licensed for commercial use ({layout.licence}).")

    def entries(self, rows: Rows) -> Iterator[tuple[str, Entry]]:
        """Pairs of section and entry; sets whose rows are parts of a case are held in memory as a whole."""
        for section, members in self._gathered(rows):
            for entry in self._entries_of(members):
                self.folder.counts["entries"] += 1
                yield section, entry

    def _gathered(self, rows: Rows) -> Iterator[tuple[str, list[Row]]]:
        """Rows that belong together, table by table: each has column names of its own."""
        by_case = self.views == "case" and self.layout.case
        together = by_case or self.layout.join_texts or self.layout.answers
        groups: dict[tuple[str, str], list[Row]] = {}
        for section, row in rows:
            if self.templates != rows.compiled:
                yield from ((part, members) for (part, _), members in groups.items())
                groups, self.templates = {}, rows.compiled
            if together:
                name = "case" if by_case else "image 0"
                groups.setdefault((section, self.templates[name].first(row)), []).append(row)
            else:
                yield section, [row]
        yield from ((part, members) for (part, _), members in groups.items())

    def _entries_of(self, rows: list[Row]) -> Iterator[Entry]:
        """The entries of rows that belong together: one, or one an image."""
        rows = [row for row in rows if self._view_wanted(row)]
        if not rows:
            return
        known: Entry = {}
        caption = self._caption(rows, known)
        words = len(caption.split())
        if not caption:
            self._count("no caption")
            return
        if words < (self.layout.min_words if self.options.min_words is None else self.options.min_words):
            self._count("caption too short")
            return
        licence = self._text("image_licence", rows[0]) or (self.layout.licence if self.layout.commercial else "")
        if self.options.licence == "commercial" and not allows_commercial_use(licence):
            self._count("licence not commercial")
            return
        images = list(dict.fromkeys(path for row in rows for path in self._images(row)))
        if not images:
            return
        known |= self._about(rows[0], caption, licence)
        groups = [images] if self.views == "case" or self.layout.join_texts else [[image] for image in images]
        for paths in groups:
            entry = _carried(rows[0]) if self.layout.carry else {}
            entry |= {"image": paths[0] if len(paths) == 1 else paths, "caption": caption, **known}
            if group := known.get("group") or self._group_by_path(paths[0]):
                entry["group"] = group
            yield entry

    def _count(self, what: str) -> None:
        self.folder.counts[what] += 1

    def _view_wanted(self, row: Row) -> bool:
        if self.views != "frontal":
            return True
        wanted = self._text("view", row).lower() in {name.lower() for name in self.layout.frontal}
        self.folder.counts["not frontal"] += not wanted
        return wanted

    def _caption(self, rows: list[Row], known: Entry) -> str:
        if self.layout.answers:
            names = ("question", "answer", "topic")
            questions = [tuple(self._text(f"answer {name}", row) for name in names) for row in rows]
            known["fields"] = answered_fields(questions)
            known["qa"] = [{"question": q, "answer": a} for q, a, _ in questions]
            whole = self.options.text == "questions"
            text = question_text(questions) if whole else composed_caption(known["fields"])
        elif self.layout.join_texts:
            text = " ".join(dict.fromkeys(filter(None, (self._section_text(row) for row in rows))))
        else:
            text = next(filter(None, (self._section_text(row) for row in rows)), "")
        if self.layout.strip:
            text = re.sub(self.layout.strip, "", text, flags=re.IGNORECASE)
        return drop_marks(text) if self.options.marks == "drop" else tidy(text)

    def _section_text(self, row: Row) -> str:
        names = ("findings", "impression") if self.section == "both" else (self.section,)
        templates = [self.templates[f"caption {name}"] for name in names if self.layout.caption.get(name)]
        texts = [" ".join(template.fill(row)) for template in templates]
        if not any(texts) and self.layout.report:
            sections = report_sections(self._report(row))
            texts = [sections.get(name, "") for name in names]
        return " ".join(filter(None, texts))

    def _report(self, row: Row) -> str:
        """The report of a row: a column's text, or the text file that the template names."""
        template = self.templates["report"]
        if not template.text.endswith(".txt"):
            return str(row.get(template.slots[0][0][0]) or "")
        file = self.folder.root / template.first(row)
        if not file.is_file():
            self._count("report file missing")
            return ""
        return file.read_text(encoding="utf-8", errors="replace")

    def _images(self, row: Row) -> list[str]:
        """Paths of a row's images that exist, relative to the set's folder; the others are noted as missing."""
        if self.layout.picture:
            self.found += 1
            return [extracted(self.folder.root, self.templates["image 0"].first(row), row, self.layout.picture)]
        named: list[str] = []
        for number in range(len(self.layout.image)):
            paths = [self._inside(path) for path in self.templates[f"image {number}"].fill(row)]
            present = [path for path in paths if os.path.exists(f"{self._root}/{path}")]
            if present:
                absent = [path for path in paths if path not in present]
                break
            named = named or paths
        else:
            present, absent = [], named or [f"(row {row['row']} names no image)"]
        self.found += len(present)
        self.missing += absent
        return present

    def _inside(self, path: str) -> str:
        """A path as the table has it, relative to the set's folder."""
        path = path.replace("\\", "/")
        if posixpath.isabs(path):
            path = os.path.relpath(path, self.folder.root)
        path = posixpath.normpath(path)
        if path.startswith("../"):
            raise InputError(f"image {path} lies outside {self.folder.root}; give a folder above both as --source.")
        return path

    def _about(self, row: Row, caption: str, licence: str) -> Entry:
        """What an entry says besides image and caption; what is empty is left out."""
        names = ("group", "source_id", "archive_id", "modality", "body_part", "view")
        entry: Entry = {name: self._text(name, row) for name in names}
        entry["source"], entry["licence"] = self.layout.name, licence
        if fields := {name: self._text(f"field {name}", row) for name in self.layout.fields}:
            entry["fields"] = {name: text for name, text in fields.items() if text}
        if self.layout.volume:
            entry["reading"] = self._reading(row)
        return {name: value for name, value in entry.items() if value}

    def _reading(self, row: Row) -> Entry:
        """How a volume is read: its slices and, where the set keeps them apart, slope and intercept."""
        slices = self.options.slices
        reading: Entry = {"slice": f"even:{slices}" if slices.isdigit() else slices}
        if self.layout.modality:
            reading["modality"] = self._text("modality", row)
        if self.layout.rescale:
            try:
                reading["rescale"] = [float(self._text(f"rescale {n}", row)) for n in range(2)]
            except ValueError:
                name = self._text("image 0", row)
                raise InputError(
                    f"{name} has no slope and intercept in the metadata table; without them its values are not HU."
                ) from None
        return reading

    def _group_by_path(self, path: str) -> str:
        found = re.search(self.options.group_pattern, path) if self.options.group_pattern else None
        return found.group(found.lastindex or 0) if found else ""

    def _text(self, name: str, row: Row) -> str:
        template = self.templates.get(name)
        return text_of(template.first(row)) if template else ""


def _carried(row: Row) -> Entry:
    """What else an entry of a datalist says."""
    return {key: value for key, value in row.items() if key not in ("section", "here", "language", "row", "split")}


def shown(names: Sequence[str], count: int = 5) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def source_folder(source: str | Path) -> Path:
    """The folder of ``--source``.

    Raises:
        InputError: it is no folder.
    """
    folder = Path(source)
    if not folder.is_dir():
        raise InputError(f"--source {folder} is not a folder; give the folder that holds the data set.")
    return folder.resolve()
