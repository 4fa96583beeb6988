"""Planted duplicates are found, different images are not, and what is found can be left out or reported."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.commands.datalist import main
from scripts.data.leaks import Bank, archive_ids, leak_report, same_images
from scripts.data.leaks.fingerprints import agreement, equalised, fingerprint

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from leaks import CHANGES, made_body  # noqa: E402


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve different images."""
    folder = tmp_path_factory.mktemp("bodies")
    draw = np.random.default_rng(5)
    for number in range(12):
        made_body(draw).save(folder / f"{number}.png")
    return [folder / f"{number}.png" for number in range(12)]


def entries(*paths: Path | str) -> list[dict[str, str]]:
    return [{"image": str(path), "caption": "a body"} for path in paths]


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found_and_nothing_else(change: str, bodies: list[Path], tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    for number in (0, 3, 7):
        with Image.open(bodies[number]) as image:
            CHANGES[change](image.convert("L"), draw).save(tmp_path / f"{number}.png")
    copies = Bank(entries(*(tmp_path / f"{number}.png" for number in (0, 3, 7))))
    pairs = same_images(copies, Bank(entries(*bodies)))
    assert {(pair.first, pair.second, pair.kind) for pair in pairs} == {(0, 0, "look"), (1, 3, "look"), (2, 7, "look")}
    assert not same_images(copies, Bank(entries(*(bodies[n] for n in (1, 2, 4, 5, 6)))))


def test_equal_bytes_are_content_and_views_count_one_by_one(bodies: list[Path]) -> None:
    case = [{"image": [str(bodies[4]), str(bodies[1])], "caption": "two views"}]
    (pair,) = same_images(Bank(case), Bank(entries(*bodies[:3])))
    assert (pair.kind, pair.second, pair.score) == ("content", 1, 1.0)


def test_a_monotone_window_changes_no_rank() -> None:
    grey = np.random.default_rng(0).permutation(np.arange(4096) % 200).reshape(64, 64).astype(np.float32)
    shifted = equalised(grey + 40).astype(int)
    assert np.array_equal(equalised(grey), shifted)
    halved = equalised(grey * 0.5 + 20).astype(int)  # two grey values become one
    assert np.abs(halved - equalised(grey)).max() <= 1
    assert agreement(equalised(grey), equalised(grey)) == pytest.approx(1, abs=1e-4)


def test_volumes_and_16_bit_pictures_have_fingerprints_and_broken_files_a_reason(tmp_path: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    from made_sets import volume

    volume(tmp_path / "v.nii.gz")
    assert fingerprint(str(tmp_path / "v.nii.gz")).detail.std() > 10
    deep = np.random.default_rng(0).integers(0, 4095, (64, 64), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert fingerprint(str(tmp_path / "deep.png")).detail.std() > 10
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    bank = Bank(entries(tmp_path / "broken.png", tmp_path / "absent.png"))
    assert len(bank.unreadable) == 2 and not bank.owners
    assert not same_images(bank, bank)


def test_archive_numbers() -> None:
    entry = {"image": "images/vqamed19_synpic46283.jpg", "archive_id": "PMC3970251_CRIONM2014-931546.003.jpg"}
    assert archive_ids(entry) == {"image": {"synpic46283"}, "article": {"PMC3970251"}}


def test_same_number_in_an_archive_is_a_leak_though_the_pictures_differ(bodies: list[Path], tmp_path: Path) -> None:
    for number, name in ((0, "MPX1_synpic7.png"), (1, "vqa_synpic7.png"), (2, "PMC12345_a.png"), (3, "PMC12345_b.png")):
        (tmp_path / name).write_bytes(bodies[number].read_bytes())
    first, second = (Bank(entries(*(tmp_path / name for name in names))) for names in (
        ("MPX1_synpic7.png", "PMC12345_a.png"), ("vqa_synpic7.png", "PMC12345_b.png")))  # fmt: skip
    assert [(p.first, p.second, p.kind) for p in same_images(first, second)] == [
        (0, 0, "archive image"),
        (1, 1, "archive article"),
    ]


def test_report_and_exclusion_by_command(
    bodies: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = np.random.default_rng(2)
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    for number in range(6):
        (old / f"{number}.png").write_bytes(bodies[number].read_bytes())
    for number in range(4, 12):
        with Image.open(bodies[number]) as image:
            stream = io.BytesIO()
            CHANGES["everything"](image.convert("L"), draw).save(stream, "PNG")
        (new / f"n{number}.png").write_bytes(stream.getvalue())
        (new / f"n{number}.txt").write_text(f"a body of {number}")
    (old / "datalist.json").write_text(
        json.dumps({"training": [{"image": f"{n}.png", "caption": "x"} for n in range(6)]})
    )
    words = ["folder", "--source", str(new), "--output", str(new / "datalist.json"), "--quiet"]
    assert main(words) == 0
    assert len(leak_report(new / "datalist.json", against=old / "datalist.json", progress=False).pairs) == 2
    assert main(["leaks", str(new / "datalist.json"), "--against", str(old / "datalist.json")]) == 1
    assert "2 look: the same picture in another size" in capsys.readouterr().out
    assert main([*words, "--exclude", str(old / "datalist.json")]) == 0
    content = json.loads((new / "datalist.json").read_text())
    names = {entry["image"] for name in ("training", "validation", "test") for entry in content.get(name, [])}
    assert names == {f"n{number}.png" for number in range(6, 12)}
    assert content["provenance"]["counts"]["in an excluded datalist"] == 2
