"""Datalists and inference inputs: JSON or folders in, lists of cases out, everything checked before work starts.

A datalist is MONAI's JSON object of lists, or, for any length, JSON Lines (`json_lines`), which stays on the disk. A
case is a dictionary whose ``image`` is one absolute path (file, folder of one DICOM series, or ``FILE::series`` for the
series of that file where it shares its folder) or a list of such paths (views of one case). All other keys of a
datalist entry are kept as they are.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scripts.data.json_lines import JsonLines, is_json_lines, section_names
from scripts.errors import InputError

_log = logging.getLogger(__name__)
_VOLUMES = (".dcm", ".dicom", ".nii", ".nii.gz", ".hdr", ".nrrd", ".nhdr", ".mha", ".mhd", ".mgh", ".mgz")
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jp2", ".pgm", ".ppm", ".pnm")
_TABLES = (".csv", ".tsv", ".xlsx", ".parquet")
IMAGE_SUFFIXES = _VOLUMES + _PICTURES
"""File name endings that count as images when a folder is searched (DICOM also by its preamble)."""


def load_datalist(
    path: str | os.PathLike[str],
    *,
    section: str,
    dataset_dir: str | os.PathLike[str],
    require_caption: bool = False,
    check_files: bool = True,
    checked: bool = True,
) -> Sequence[dict[str, Any]]:
    """Read one section of a MONAI-style datalist.

    Args:
        path: ``.json`` or ``.jsonl`` file; a relative path that does not exist here is looked up under ``dataset_dir``.
        section: key of the list to read, such as ``training``.
        dataset_dir: folder that image paths are relative to, and which they may not leave.
        require_caption: refuse an entry without a non-empty ``caption`` string.
        check_files: refuse an entry whose image is not on disk.
        checked: of JSON Lines, whether all entries are checked now, or each when it is asked for.

    Returns:
        One dictionary per entry, ``image`` made absolute, other keys untouched; of ``.jsonl`` a sequence that reads
        entries when they are asked for.

    Raises:
        InputError: the file, the section or an entry cannot be used; the message names entry and file.
    """
    path = _find_datalist(Path(path), Path(dataset_dir))
    check = _EntryCheck(path, section, _PathGuard(Path(dataset_dir)), require_caption, check_files)
    if not is_json_lines(path):
        return [check(entry, index) for index, entry in enumerate(_read_section(path, section))]
    entries = JsonLines(path, section, check)
    if check_files or require_caption:
        for _ in entries if checked else ():
            pass  # each is checked as it is read
        check.files = check_files and not checked
    return entries


class _EntryCheck:
    """An entry as the datalist has it -> one with absolute images, or the sentence that refuses it."""

    def __init__(self, path: Path, section: str, root: _PathGuard, caption: bool, files: bool) -> None:
        self.path, self.section, self.root, self.caption, self.files = path, section, root, caption, files

    def __call__(self, entry: Any, index: int) -> dict[str, Any]:
        where = f"entry {index} of '{self.section}' in {self.path}"
        if not isinstance(entry, dict):
            raise InputError(f"{where} is not an object with an 'image' key: {_short(entry)}.")
        _check_entry(entry, where)
        image = _absolute_images(entry.get("image"), where, self.root, self.files)
        caption = entry.get("caption")
        if self.caption and (not isinstance(caption, str) or not caption.strip()):
            raise InputError(f"{where} needs a 'caption' that is a non-empty string, not {_short(caption)}.")
        return {**entry, "image": image}


def inference_items(path: str | os.PathLike[str], *, section: str | None = None) -> Sequence[dict[str, Any]]:
    """List the cases to caption at ``path``: a file, a folder, or a datalist ``.json`` or ``.jsonl``.

    A folder gives one case per image file and one case per DICOM series (files of one folder that share a
    SeriesInstanceUID, when there are two or more), whatever else lies beside it; sub-folders are searched too. DICOM
    objects without an image (reports, segmentations and the like) are counted in the log. Of a datalist, ``section`` is
    read, or the first of ``test``, ``validation``, ``training`` that it has; its paths are relative to its own folder.

    Raises:
        InputError: nothing is there, or nothing that looks like an image.
    """
    path = Path(path)
    if not os.path.exists(_file_of(str(path))):
        raise InputError(f"{path} does not exist; give an image file, a folder of images or a datalist .json.")
    if path.is_dir():
        items = _items_below(path)
        if not items:
            raise InputError(f"{path} holds no image; expected files ending in {', '.join(IMAGE_SUFFIXES)}.")
        return items
    if path.suffix.lower() in _TABLES:
        raise InputError(f"{path} is a table: {_to_convert(path, path.parent)}.")
    if is_datalist(path):
        section = section or first_section(path)
        return load_datalist(path, section=section, dataset_dir=path.parent)
    return [{"image": str(path.absolute())}]


def image_paths(item: dict[str, Any]) -> list[str]:
    """Return the image paths of a case as a list, one per view."""
    image = item["image"]
    return [image] if isinstance(image, str) else list(image)


class _PathGuard:
    """Makes image paths absolute and refuses those that leave the dataset folder, also through symbolic links."""

    def __init__(self, dataset_dir: Path) -> None:
        if not dataset_dir.is_dir():
            raise InputError(f"dataset_dir {dataset_dir} is not a folder; set dataset_dir to where the images are.")
        self._root = dataset_dir.absolute()
        self._root_text = str(self._root)
        self._real_root = os.path.realpath(dataset_dir)
        self._real_parents: dict[str, str] = {}

    def resolve(self, name: str, where: str) -> str:
        """Return the absolute form of ``name``; symbolic links inside the dataset folder are kept as given."""
        if "\0" in name or not name.strip() or not _is_path(name):
            raise InputError(f"{where} has an 'image' that is not a path: {name!r}.")
        joined = os.path.join(self._root_text, name)
        file = _file_of(joined)
        if "\\" in name and os.sep == "/" and not os.path.exists(file):
            raise InputError(f"{where} names {name} with Windows back-slashes; write its path with / instead.")
        # ".." is judged on the real path, since normpath would fold "link/.." differently from the kernel.
        real = self._real(file)
        if real != self._real_root and not real.startswith(self._real_root.rstrip(os.sep) + os.sep):
            raise InputError(
                f"{where} names {name}, which lies outside dataset_dir {self._root}; "
                "copy the file into it or set dataset_dir to a folder that holds both."
            )
        upwards = ".." in name and ".." in Path(name).parts
        return real + joined.removeprefix(file) if upwards else os.path.normpath(joined)

    def _real(self, path: str) -> str:
        if os.path.islink(path) or path.endswith((os.sep, "..", ".")):
            return os.path.realpath(path)
        parent, base = os.path.split(path)  # folders repeat over entries: resolve each once
        if parent not in self._real_parents:
            self._real_parents[parent] = os.path.realpath(parent)
        return os.path.join(self._real_parents[parent], base)


def _find_datalist(path: Path, dataset_dir: Path) -> Path:
    for found in (path,) if path.is_absolute() else (path, dataset_dir / path):
        if found.suffix.lower() in _TABLES:
            raise InputError(f"datalist {found} is a table: {_to_convert(found, dataset_dir)}.")
        if found.is_file():
            return found
    tables = [file for file in sorted(dataset_dir.glob("*.*")) if file.suffix.lower() in _TABLES]
    hint = (
        f"{tables[0]} is there, a table: {_to_convert(tables[0], dataset_dir)}"
        if tables
        else "set 'datalist' to a JSON file"
    )
    raise InputError(f"datalist {path} does not exist (also looked in {dataset_dir}); {hint}.")


def _to_convert(table: Path, dataset_dir: Path) -> str:
    """The command that makes a datalist of a table."""
    output = dataset_dir / f"{table.with_suffix('').name}.json"
    return (
        f"python -m scripts.commands.datalist table --source {dataset_dir} --table {table.name} --output {output} "
        "makes a datalist of it (--image-column and --caption-column name its columns)"
    )


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys were there twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        keys = [key for key, _ in pairs]
        self.twice = sorted({key for key in keys if keys.count(key) > 1}) if len(self) < len(keys) else []


def read_sections(path: Path) -> dict[str, Any]:
    """The object of a JSON file in UTF-8, UTF-16 (what a Windows shell writes) or UTF-32, told by its first bytes."""
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=_Object)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"datalist {path} is not valid JSON in UTF-8: {error}.") from error
    except OSError as error:
        raise InputError(f"datalist {path} cannot be read: {error.strerror or error}.") from error
    if not isinstance(content, dict):
        raise InputError(f'datalist {path} must be a JSON object such as {{"training": [...]}}.')
    if content.twice:
        raise InputError(f"datalist {path} has the section '{content.twice[0]}' twice; join the two into one list.")
    return content


def _read_section(path: Path, section: str) -> list[Any]:
    content = read_sections(path)
    lists = [key for key, value in content.items() if isinstance(value, list)]
    if section not in content:
        raise InputError(f"datalist {path} has no section '{section}'; it has {', '.join(lists) or 'no lists'}.")
    if not isinstance(content[section], list) or not content[section]:
        raise InputError(f"section '{section}' of datalist {path} is not a list with at least one entry.")
    return content[section]


def is_datalist(path: Path) -> bool:
    """Whether a file's name is that of a datalist."""
    return path.suffix.lower() == ".json" or is_json_lines(path)


def first_section(path: Path) -> str:
    """The first of ``test``, ``validation``, ``training`` that a datalist has."""
    content: Any = dict.fromkeys(section_names(path), True) if is_json_lines(path) else read_sections(path)
    for section in ("test", "validation", "training"):
        if content.get(section):
            return section
    raise InputError(f"datalist {path} has none of the sections test, validation, training.")


def _absolute_images(image: Any, where: str, root: _PathGuard, check_files: bool) -> str | list[str]:
    names = [image] if isinstance(image, str) else image
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"{where} needs an 'image': a path or a list of paths, not {_short(image)}.")
    paths = [root.resolve(name, where) for name in names]
    for path in paths if check_files else []:
        if not os.path.exists(_file_of(path)):
            raise InputError(f"{where} names {path}, which does not exist; correct the entry or set dataset_dir.")
    return paths[0] if isinstance(image, str) else paths


def _is_path(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _check_entry(entry: dict[str, Any], where: str) -> None:
    """Refuse what JSON lets through and nothing can be done with.

    Raises:
        InputError: a key is there twice, or a caption holds NUL or half of a surrogate pair.
    """
    if twice := getattr(entry, "twice", None):
        raise InputError(f"{where} has the key '{twice[0]}' twice; keep one of the two.")
    caption = entry.get("caption")
    for text in [caption] if isinstance(caption, str) else caption if isinstance(caption, list) else []:
        if isinstance(text, str) and ("\0" in text or any("\ud800" <= character <= "\udfff" for character in text)):
            raise InputError(
                f"{where} has a 'caption' with a NUL or half a character (a lone surrogate); write it again."
            )


def _folders(root: Path) -> Iterator[Path]:
    for folder, names, _ in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))
        yield Path(folder)


def _items_below(root: Path) -> list[dict[str, Any]]:
    items, no_images = [], 0
    for folder in _folders(root):
        images, passed_over = _folder_cases(folder)
        items += [{"image": image} for image in images]
        no_images += passed_over
    if no_images:
        what = "reports, presentation states, segmentations, indexes and the like"
        _log.warning("%s: passed over %d DICOM files without an image (%s)", root, no_images, what)
    return items


def _folder_cases(folder: Path) -> tuple[list[str], int]:
    """Cases of one folder, in the order of their (first) names, and how many DICOM files there hold no image."""
    from scripts.reading.dicom.folder_series import ENDING, look_at, plain_files

    names = plain_files(str(folder.absolute()))
    looks = look_at(names)
    groups: dict[str, list[str]] = {}
    for name, look in looks.items():
        if look.is_image:
            groups.setdefault(look.series or name, []).append(name)
    size = {group[0]: len(group) for group in groups.values()}
    # The reader takes all below a folder, so its path stands for a series only where there is nothing else to take.
    alone = len(size) == 1 and not any(entry.is_dir() for entry in folder.iterdir())
    cases = []
    for name in names:
        if size.get(name, 0) > 1:
            cases.append(str(folder.absolute()) if alone else name + ENDING)
        elif name in size or (name not in looks and name.lower().endswith(IMAGE_SUFFIXES)):
            cases.append(name)
    return cases, sum(not look.is_image for look in looks.values())


def _file_of(path: str) -> str:
    """The file behind a path that names a series (`scripts.reading.dicom.folder_series`), else the path."""
    if not path.endswith("::series"):  # without loading the readers, which a datalist of pictures does not need
        return path
    from scripts.reading.dicom.folder_series import file_of

    return file_of(path)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
