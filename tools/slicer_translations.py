"""Brings the Slicer extension's translations up to date with its sources.

.venv/bin/python tools/slicer_translations.py [--check]

Collects every text that the panel can show, in the context under which Slicer looks it up, into
``Resources/Translations/ImageCaptioning_LANGUAGE.ts``, keeps what is translated, and makes the ``.qm`` files that
Slicer loads. ``--check`` changes nothing and fails where a file is behind. Edit the ``.ts`` files with Qt Linguist.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

MODULE = Path(__file__).resolve().parents[1] / "integrations" / "slicer" / "ImageCaptioning" / "ImageCaptioning"
FOLDER = MODULE / "Resources" / "Translations"
LANGUAGES = {"de": "de_DE", "fr": "fr_FR"}
Texts = dict[str, list[str]]
"""Context -> texts, each once, in the order of the source."""


def texts_of(module: Path) -> Texts:
    """All texts of the module that can be translated."""
    found: Texts = {}
    for path in sorted(module.rglob("*.py")):
        if "Testing" not in path.parts:
            _add(found, _context(path), _in_python(path))
    for path in sorted((module / "Resources" / "UI").glob("*.ui")):
        tree = ET.parse(path)
        _add(found, tree.findtext("class", ""), _in_ui(tree))
    return {context: texts for context, texts in found.items() if texts}


def _context(path: Path) -> str:
    """As ``slicer.i18n`` names it: the file, behind its package."""
    package = f"{path.parent.name}." if (path.parent / "__init__.py").is_file() else ""
    return package + path.stem


def _in_python(path: Path) -> list[str]:
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    calls.sort(key=lambda call: (call.lineno, call.col_offset))
    found = []
    for call in calls:
        if isinstance(call.func, ast.Name) and call.func.id == "_":
            assert isinstance(call.args[0], ast.Constant), f"{path}:{call.lineno}: _() takes one plain text"
            found.append(call.args[0].value)
    return found


def _in_ui(tree: ET.ElementTree) -> list[str]:
    fixed = {item for listed in tree.iter("stringlist") if listed.get("notr") == "true" for item in listed}
    strings = [item for item in tree.iter("string") if item not in fixed and item.get("notr") != "true"]
    return [item.text for item in strings if item.text]


def _add(found: Texts, context: str, texts: list[str]) -> None:
    found[context] = list(dict.fromkeys([*found.get(context, []), *texts]))


def translations_in(path: Path) -> dict[tuple[str, str], str]:
    """(context, text) -> translation, of a ``.ts`` file; without those that are unfinished."""
    if not path.is_file():
        return {}
    return {
        (context.findtext("name", ""), message.findtext("source", "")): message.findtext("translation", "")
        for context in ET.parse(path).iter("context")
        for message in context.iter("message")
        if message.find("translation").get("type") is None
    }


def ts_file(texts: Texts, known: dict[tuple[str, str], str], language: str) -> str:
    """The ``.ts`` file of a language; texts without a translation are marked unfinished."""
    top = ET.Element("TS", version="2.1", language=language, sourcelanguage="en_US")
    for name, sources in texts.items():
        context = ET.SubElement(top, "context")
        ET.SubElement(context, "name").text = name
        for source in sources:
            message = ET.SubElement(context, "message")
            ET.SubElement(message, "source").text = source
            translation = ET.SubElement(message, "translation")
            translation.text = known.get((name, source))
            if not translation.text:
                translation.set("type", "unfinished")
    ET.indent(top, "    ")
    body = ET.tostring(top, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE TS>\n{body}\n'


def compiled(ts: Path) -> bytes:
    """What Qt's ``lrelease`` makes of a ``.ts`` file."""
    import PySide6

    lrelease = Path(PySide6.__file__).parent / "lrelease"
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "made.qm"
        subprocess.run([str(lrelease), "-silent", "-nounfinished", str(ts), "-qm", str(target)], check=True)
        return target.read_bytes()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail where a file is behind")
    check, behind = parser.parse_args().check, []
    texts = texts_of(MODULE)
    for short, language in LANGUAGES.items():
        ts = FOLDER / f"ImageCaptioning_{short}.ts"
        known = translations_in(ts)
        text = ts_file(texts, known, language)
        if not ts.is_file() or ts.read_text(encoding="utf-8") != text:
            behind.append(ts.name)
            if not check:
                ts.write_text(text, encoding="utf-8")
        qm = ts.with_suffix(".qm")
        made = compiled(ts)
        if not qm.is_file() or qm.read_bytes() != made:
            behind.append(qm.name)
            if not check:
                qm.write_bytes(made)
        count = sum(len(sources) for sources in texts.values())
        done = sum((name, source) in known for name, sources in texts.items() for source in sources)
        print(f"{short}: {done} of {count} texts translated")
    if check and behind:
        print(f"behind their sources: {', '.join(behind)}: run tools/slicer_translations.py")
    return int(check and bool(behind))


if __name__ == "__main__":
    sys.exit(main())
