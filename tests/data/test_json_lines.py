"""Datalists as JSON Lines: read a line at a time, the same entries as of JSON, for every reader of datalists."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from scripts.data import CaptionDataset, load_datalist
from scripts.data.check import check_datalist, provenance_of, sections_of
from scripts.data.inference_cases import cases
from scripts.data.json_lines import JsonLines, SequenceOfAll
from scripts.data.phases import Phases
from scripts.errors import InputError
from scripts.metrics.pairs import read_items


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    """One datalist in both forms."""
    content = {
        name: [{"image": f"{name}{n}.png", "caption": f"{name} é {n}", "group": f"{name}{n // 2}"} for n in range(5)]
        for name in ("training", "validation")
    }
    for entries in content.values():
        for entry in entries:
            (tmp_path / entry["image"]).write_bytes(b"x")
    lines = [{"datalist": 1, "provenance": {"set": "made"}}]
    lines += [{"section": name, **entry} for name, entries in content.items() for entry in entries]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    (tmp_path / "d.json").write_text(json.dumps({"provenance": {"set": "made"}, **content}))
    return tmp_path / "d.json", tmp_path / "d.jsonl"


def test_both_forms_give_the_same_entries(both: tuple[Path, Path]) -> None:
    whole, lines = (load_datalist(file, section="validation", dataset_dir=file.parent) for file in both)
    assert isinstance(lines, JsonLines)
    assert list(lines) == whole
    assert lines[-1] == whole[-1] and lines[1:3] == whole[1:3]
    with pytest.raises(IndexError):
        lines[5]
    assert list(pickle.loads(pickle.dumps(lines))) == whole
    assert [provenance_of(file) for file in both] == [{"set": "made"}] * 2
    assert sections_of(both[0]) == sections_of(both[1]) == ["training", "validation"]
    assert [item.captions for item in read_items(both[1], "training")] == [
        item.captions for item in read_items(both[0], "training")
    ]
    assert list(cases(str(both[1]))) == list(cases(str(both[0])))


def test_lines_without_a_section_are_training_and_keys_may_stand_in_any_order(tmp_path: Path) -> None:
    lines = [{"image": "a", "caption": "x"}, {"image": "b", "section": "test"}]
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    options = {"dataset_dir": tmp_path, "check_files": False}
    assert load_datalist(tmp_path / "d.jsonl", section="training", **options)[0]["caption"] == "x"
    assert len(load_datalist(tmp_path / "d.jsonl", section="test", **options)) == 1


def test_entries_are_checked_like_those_of_json(both: tuple[Path, Path]) -> None:
    (both[1].parent / "training3.png").unlink()
    for file in both:
        with pytest.raises(InputError, match="entry 3 of 'training' in .*training3.png, which does not exist"):
            load_datalist(file, section="training", dataset_dir=file.parent)
    with pytest.raises(InputError, match="no section 'test' with at least one entry; it has training, validation"):
        load_datalist(both[1], section="test", dataset_dir=both[1].parent)
    both[1].write_text(both[1].read_text() + "{broken\n")
    with pytest.raises(InputError, match="is not valid JSON .*; write one object a line"):
        load_datalist(both[1], section="training", dataset_dir=both[1].parent)


def test_the_data_set_and_phases_leave_it_on_the_disk(both: tuple[Path, Path]) -> None:
    lines = load_datalist(both[1], section="training", dataset_dir=both[1].parent)
    data = CaptionDataset(lines, image_transform=lambda case: {"image": case["image"]})
    assert data.data is lines and data[2]["caption"] == "training é 2"
    phases = Phases([{"name": "a", "epochs": 1}, {"name": "b", "epochs": 1, "section": "validation"}],
                    datalist=str(both[1]), dataset_dir=str(both[1].parent))  # fmt: skip
    assert isinstance(phases.items, SequenceOfAll)
    assert len(phases.items) == 10 and phases.items[7]["caption"] == "validation é 2"
    assert phases.items[-1] == phases.items[9]


def test_check_finds_crossing_groups_in_both_forms(both: tuple[Path, Path]) -> None:
    assert [check_datalist(file, file.parent).problems for file in both] == [[], []]
    for file in both:
        file.write_text(file.read_text().replace('"validation0"', '"training0"'))
        result = check_datalist(file, file.parent)
        assert result.problems == [
            "1 groups stand in more than one section, such as 'training0'; keep each on one side."
        ]
