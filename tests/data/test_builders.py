"""Made trees of every named set become datalists; wrong trees and impossible wishes get a sentence."""
# ruff: noqa: E501 (cases stand on one line)

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import made_sets  # noqa: E402

from scripts.data import load_datalist  # noqa: E402
from scripts.data.builders import (  # noqa: E402
    BuildOptions,
    CaseOptions,
    NamedColumns,
    build_datalist,
    generic_layout,
    layout_names,
    load_layout,
)
from scripts.data.builders.splits import assign_groups, crossing_groups, group_number  # noqa: E402
from scripts.errors import InputError  # noqa: E402


def built(name: str, root: Path, **options: Any) -> dict[str, Any]:
    case = {key: options.pop(key) for key in list(options) if key in CaseOptions.__dataclass_fields__}
    build_datalist(name, root, root / "datalist.json", BuildOptions(case=CaseOptions(**case), **options))
    return json.loads((root / "datalist.json").read_text())


@pytest.mark.parametrize("tree", made_sets.SETS)
def test_every_made_tree_becomes_a_datalist_with_all_its_images(tree: str, tmp_path: Path) -> None:
    if "parquet" in tree:
        pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    name, make = made_sets.SETS[tree]
    make(tmp_path)
    content = built(name, tmp_path)
    assert content["provenance"]["counts"]["missing image files"] == 0
    assert content["provenance"]["tables"] or name == "folder"
    for section in ("training", "validation"):
        items = load_datalist(tmp_path / "datalist.json", section=section, dataset_dir=tmp_path, require_caption=True)
        assert len(items) == content["provenance"]["sections"][section] > 0
        assert all(item["source"] == name for item in items)


def test_every_layout_has_a_made_tree() -> None:
    assert {name for name, _ in made_sets.SETS.values()} == set(layout_names())
    assert all(layout.title and layout.licence for name in layout_names() for layout in load_layout(name))


@pytest.mark.parametrize(
    ("tree", "image", "caption", "more"),
    [
        ("roco", "data/train/radiology/images/ROCO_00010.jpg", f'{made_sets.WORDS}, "0"', {"group": "PMC00010", "licence": "CC BY-NC"}),
        ("mimic", "files/p10/p10000000/s50410000/00000000-pa.jpg", "Lungs are clear 0.", {"group": "10000000", "view": "PA"}),
        ("mimic reports", "files/p10/p10000000/s50410000/00000000-pa.jpg", "Lungs are clear in ___ 0.", {"body_part": "CHEST"}),
        ("padchest-gr", "images_grounding/0_gr.png", "The heart 0. One nodule.", {"group": "patient0"}),
        ("chexpert-plus", "PNG/PNG/train/patient00000/study1/view1_frontal.png", "1. One effusion 0.", {"group": "patient00000"}),
        ("medpix2", "MedPix-2-0/images/MPX1000_synpic46280.png", "Axial CT of the chest 0.", {"group": "MPX1000", "archive_id": "MPX1000_synpic46280"}),
        ("vqa-med", "Train_images/synpic100.jpg", "Axial ct of the chest.", {"licence": "CC BY 4.0"}),
        ("slake", "imgs/xmlab0/source.jpg", "CT of the chest.", {"fields": {"modality": "CT", "organ": "chest"}}),
        ("deepeyenet", "eyenet0420/train_set/train0.jpg", "one head image train 0", {"modality": "OP"}),
        ("radgenome", "train/train_1/train_1_a/train_1_a_1.nii.gz", "The lungs 1 are clear. The heart is one.", {"group": "train_1"}),
    ],
)  # fmt: skip
def test_first_entry(tree: str, image: str, caption: str, more: dict[str, Any], tmp_path: Path) -> None:
    name, make = made_sets.SETS[tree]
    make(tmp_path)
    entry = built(name, tmp_path)["training"][0]
    assert (entry["image"], entry["caption"]) == (image, caption)
    assert more.items() <= entry.items()


def test_views_sections_marks_and_language(tmp_path: Path) -> None:
    made_sets.iu_openi(tmp_path / "iu")
    content = built("iu-xray", tmp_path / "iu", section="both", marks="drop")
    entry = next(e for e in content["training"] if e["group"] == "CXR1")
    assert len(entry["image"]) == 2
    assert entry["caption"] == "The heart is normal 1. No disease."
    single = built("iu-xray", tmp_path / "iu", views="all", section="impression")
    assert all(isinstance(e["image"], str) and e["caption"] == "No disease." for e in single["training"])
    made_sets.mimic(tmp_path / "mimic")
    both = built("mimic-cxr", tmp_path / "mimic", views="case")["training"][0]["image"]
    assert [Path(path).name for path in both] == ["00000000-pa.jpg", "00000000-lateral.jpg"]
    made_sets.padchest_gr(tmp_path / "gr")
    assert built("padchest-gr", tmp_path / "gr", language="es")["training"][0]["caption"] == "El corazon 0. Un nodulo."


def test_volumes_carry_slices_and_rescale(tmp_path: Path) -> None:
    made_sets.ct_rate(tmp_path)
    entry = built("ct-rate", tmp_path, slices="informative:4")["training"][0]
    assert entry["reading"] == {"slice": "informative:4", "modality": "CT", "rescale": [1.0, -1024.0]}


def test_licence_filter_and_short_captions(tmp_path: Path) -> None:
    made_sets.roco(tmp_path / "roco")
    content = built("roco", tmp_path / "roco", licence="commercial")
    assert {entry["licence"] for entry in content["training"]} == {"CC BY"}
    assert content["provenance"]["counts"]["licence not commercial"] == 3
    made_sets.padchest(tmp_path / "padchest")
    with pytest.raises(InputError, match="not licensed for commercial use"):
        built("padchest", tmp_path / "padchest", licence="commercial")
    with pytest.raises(InputError, match="no entry of PadChest is left .*10 caption too short"):
        built("padchest", tmp_path / "padchest", min_words=9)


def test_missing_files_are_counted_and_named(tmp_path: Path) -> None:
    made_sets.rocov2(tmp_path)
    (tmp_path / "train" / "ROCOv2_2023_train_000001.jpg").unlink()
    report = build_datalist("rocov2", tmp_path, tmp_path / "datalist.json")
    assert report.missing == ["train/ROCOv2_2023_train_000001.jpg"]
    assert report.failed  # 1 of 12 is above 5 %
    assert report.sections["training"] == 3


def test_a_group_on_two_sides_is_refused_kept_or_dropped(tmp_path: Path) -> None:
    made_sets.roco(tmp_path)
    table = tmp_path / "data" / "validation" / "radiology" / "licences.txt"
    table.write_text(table.read_text().replace("PMC00020", "PMC00010"))
    with pytest.raises(InputError, match="1 groups stand on two sides of the official split, such as 'PMC00010'"):
        built("roco", tmp_path)
    assert len(built("roco", tmp_path, crossing="keep")["training"]) == 4
    dropped = built("roco", tmp_path, crossing="drop")
    assert len(dropped["training"]) == 3 and len(dropped["validation"]) == 4
    assert "1 training entries were left out" in dropped["provenance"]["notes"][0]


def test_a_drawn_split_keeps_groups_whole_and_is_the_same_again(tmp_path: Path) -> None:
    made_sets.medicat(tmp_path)
    first, second, other = (built("medicat", tmp_path, seed=seed) for seed in (0, 0, 1))
    assert first == second
    assert first["validation"] != other["validation"]
    groups = [{entry["group"] for entry in first[section]} for section in ("training", "validation", "test")]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])


def test_assigned_shares_and_crossing_groups() -> None:
    groups = np.array([group_number(f"g{number // 5}") for number in range(10_000)], np.uint64)
    sections = assign_groups(groups, {"validation": 0.1, "test": 0.2}, seed=3)
    assert np.bincount(sections) == pytest.approx([7000, 1000, 2000], abs=5)
    assert not len(crossing_groups(groups, sections))
    more = assign_groups(np.concatenate([groups, groups[:50]]), {"validation": 0.1, "test": 0.2}, seed=3)
    assert (more[:10_000] == sections).mean() > 0.99  # a set that grows keeps its split
    with pytest.raises(InputError, match="only 2 groups"):
        assign_groups(groups[:10], {"validation": 0.1, "test": 0.2}, seed=0)


@pytest.mark.parametrize(
    ("tree", "file", "old", "new", "message"),
    [
        ("rocov2", "train_captions.csv", "ID,Caption", "ID,Text", r"train_captions.csv has no column 'Caption'; its columns are ID, Text"),
        ("rocov2", "train_captions.csv", "head, 1.\"", "head, 1.\",x", r"train_captions.csv, line 2: has 3 cells, but there are 2 columns"),
        ("medpix2", "MedPix-2-0/splitted_dataset/descriptions_train.jsonl", '"U_id"', '"case"', r"descriptions_train.jsonl has no column 'U_id'"),
        ("iu kaggle", "indiana_reports.csv", "findings", "found", r"indiana_projections.csv with indiana_reports.csv has no column 'findings'"),
        ("ct-rate", "train_metadata.csv", "RescaleSlope", "Slope", r"train_reports.csv with train_metadata.csv has no column 'RescaleSlope'"),
        ("ct-rate", "train_metadata.csv", "-1024", "", r"has no slope and intercept in the metadata table"),
        ("slake", "train.json", "[", "", r"train.json: is not valid JSON"),
    ],
)  # fmt: skip
def test_wrong_trees_get_a_sentence_with_file_and_column(
    tree: str, file: str, old: str, new: str, message: str, tmp_path: Path
) -> None:
    name, make = made_sets.SETS[tree]
    make(tmp_path)
    path = tmp_path / file
    path.write_text(path.read_text().replace(old, new, -1 if tree == "medpix2" else 1))
    with pytest.raises(InputError, match=message):
        built(name, tmp_path)


def test_a_folder_of_something_else_is_told_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="does not look like IU X-Ray.*it has no ecgen-radiology, indiana_projections.csv"
    ):
        built("iu-xray", tmp_path)
    with pytest.raises(InputError, match="no layout is called 'rocoo'; there are"):
        built("rocoo", tmp_path)
    with pytest.raises(InputError, match="--source .* is not a folder"):
        built("roco", tmp_path / "absent")


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "xlsx", "parquet", "csv.gz"])
def test_tables_of_every_kind(kind: str, tmp_path: Path) -> None:
    rows = [{"file": f"{n}.png", "text": f'a head, "{n}"', "patient_id": n // 2} for n in range(20)]
    path = tmp_path / f"table.{kind}"
    for row in rows:
        made_sets.picture(tmp_path / "images" / row["file"])
    if kind == "jsonl":
        made_sets.json_lines(path, rows)
    elif kind == "xlsx":
        pytest.importorskip("openpyxl", reason="Excel needs openpyxl")
        import pandas

        pandas.DataFrame(rows).to_excel(path, index=False)
    elif kind == "parquet":
        pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
        import pandas

        pandas.DataFrame(rows).to_parquet(path)
    else:
        made_sets.table(path, list(rows[0]), [list(row.values()) for row in rows], "\t" if kind == "tsv" else ",")
    layout = generic_layout("table", tmp_path, NamedColumns())
    build_datalist(layout, tmp_path, tmp_path / "out" / "datalist.json")
    content = json.loads((tmp_path / "out" / "datalist.json").read_text())
    entries = [entry for name in ("training", "validation", "test") for entry in content[name]]
    assert sorted(entry["caption"] for entry in entries) == sorted(row["text"] for row in rows)
    assert {entry["group"] for entry in entries} == {str(n) for n in range(10)}


def test_named_columns_and_a_datalist_of_another_tool(tmp_path: Path) -> None:
    for number in range(6):
        made_sets.picture(tmp_path / "png" / f"{number}.png")
    rows = [(n, f"one head {n}", f"p{n}", "train" if n < 4 else "val") for n in range(6)]
    made_sets.table(tmp_path / "mine.csv", ["key", "words", "who", "part"], rows, ";")
    named = NamedColumns(image="png/{key}.png", caption="words", group="who", split="part")
    build_datalist(generic_layout("table", tmp_path, named), tmp_path, tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["validation"][0] == {
        "image": "png/4.png", "caption": "one head 4", "group": "p4", "source": "mine",
    }  # fmt: skip
    other = {
        "train": [{"img": "png/0.png", "report": "one", "extra": 1}],
        "val": [{"img": "png/1.png", "report": "two"}],
    }
    made_sets.as_json(tmp_path / "other.json", other)
    layout = generic_layout("datalist", tmp_path, NamedColumns(table="other.json", image="img", caption="report"))
    build_datalist(layout, tmp_path, tmp_path / "b.json")
    content = json.loads((tmp_path / "b.json").read_text())
    assert content["training"][0] | {"source": ""} == {
        "image": "png/0.png", "caption": "one", "extra": 1, "img": "png/0.png", "report": "one", "source": "",
    }  # fmt: skip
    with pytest.raises(InputError, match="no column holds images"):
        generic_layout("table", tmp_path, NamedColumns(table="mine.csv"))


def test_a_layout_of_ones_own(tmp_path: Path) -> None:
    layout = {"title": "Mine", "rows": ["t.csv"], "image": "{a}", "caption": "{b}"}
    made_sets.as_json(tmp_path / "mine.json", layout)
    made_sets.table(tmp_path / "t.csv", ["a", "b"], [(f"{n}.png", f"one {n}") for n in range(8)])
    for number in range(8):
        made_sets.picture(tmp_path / f"{number}.png")
    build_datalist(str(tmp_path / "mine.json"), tmp_path, tmp_path / "datalist.json")
    assert len(json.loads((tmp_path / "datalist.json").read_text())["training"]) == 6
    made_sets.as_json(tmp_path / "mine.json", {**layout, "captoin": "b"})
    with pytest.raises(InputError, match=r"mine.json has the unknown keys \['captoin'\]"):
        load_layout(str(tmp_path / "mine.json"))


def test_paths_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    made_sets.picture(tmp_path / "secret.png")
    made_sets.table(tmp_path / "set" / "t.csv", ["image", "caption"], [("../secret.png", "one two three")])
    with pytest.raises(InputError, match="lies outside"):
        build_datalist(generic_layout("table", tmp_path / "set", NamedColumns()), tmp_path / "set", tmp_path / "d.json")
