"""Datalists: what is accepted, made absolute, and refused before any work."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    BasicTextSRStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    SegmentationStorage,
)

from scripts.data import image_paths, inference_items, load_datalist
from scripts.data.cache.key import case_key
from scripts.errors import InputError
from scripts.outputs.dicom.source import find_source
from scripts.reading import read_case
from scripts.reading.dicom import headers
from scripts.reading.dicom.file import DicomFile


def _write(folder: Path, content: object) -> Path:
    path = folder / "datalist.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    for name in ("a.png", "b.png"):
        (folder / "images" / name).write_bytes(b"x")
    return folder


def test_paths_become_absolute_and_other_keys_stay(dataset: Path) -> None:
    entries = [
        {"image": "images/a.png", "caption": "one", "fields": {"plane": "axial"}},
        {"image": ["images/a.png", "images/b.png"], "caption": "two"},
    ]
    path = _write(dataset, {"name": "set", "training": entries})
    items = load_datalist(path, section="training", dataset_dir=dataset, require_caption=True)
    assert items[0] == {"image": str(dataset / "images/a.png"), "caption": "one", "fields": {"plane": "axial"}}
    assert items[1]["image"] == [str(dataset / "images/a.png"), str(dataset / "images/b.png")]
    assert image_paths(items[0]) == [str(dataset / "images/a.png")]
    relative = load_datalist("datalist.json", section="training", dataset_dir=dataset)
    assert relative == items


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{broken", "not valid JSON"),
        ("[1]", "must be a JSON object"),
        ('{"validation": [{"image": "images/a.png"}]}', "no section 'training'; it has validation"),
        ('{"training": []}', "at least one entry"),
        ('{"training": ["images/a.png"]}', "entry 0 .* is not an object"),
        ('{"training": [{"image": "images/a.png", "caption": "x"}, {"caption": "x"}]}', "entry 1 .* needs an 'image'"),
        ('{"training": [{"image": [], "caption": "x"}]}', "entry 0 .* needs an 'image'"),
        ('{"training": [{"image": "images/a.png", "caption": "  "}]}', "entry 0 .* needs a 'caption'"),
        ('{"training": [{"image": "images/none.png", "caption": "x"}]}', "entry 0 .*none.png, which does not exist"),
        ('{"training": [{"image": "../outside.png", "caption": "x"}]}', "outside.png, which lies outside dataset_dir"),
        ('{"training": [{"image": "/etc/passwd", "caption": "x"}]}', "lies outside dataset_dir"),
        ('{"training": [{"image": "link/outside.png", "caption": "x"}]}', "lies outside dataset_dir"),
        ('{"training": [{"image": "link.png", "caption": "x"}]}', "lies outside dataset_dir"),
        ('{"training": [{"image": "a\\u0000b", "caption": "x"}]}', "not a path"),
    ],
)
def test_unusable_datalists_are_refused_by_name(dataset: Path, content: str, message: str) -> None:
    (dataset.parent / "outside.png").write_bytes(b"x")
    (dataset / "link").symlink_to(dataset.parent)
    (dataset / "link.png").symlink_to(dataset.parent / "outside.png")
    path = _write(dataset, content)
    with pytest.raises(InputError, match=message) as refusal:
        load_datalist(path, section="training", dataset_dir=dataset, require_caption=True)
    assert str(path) in str(refusal.value)


def test_links_and_dots_that_stay_inside_are_accepted(dataset: Path) -> None:
    (dataset / "alias.png").symlink_to(dataset / "images" / "a.png")
    (dataset / "moved").symlink_to(dataset / "images")
    entries = [{"image": "alias.png"}, {"image": "images/../images/b.png"}, {"image": "moved/b.png"}]
    items = load_datalist(_write(dataset, {"test": entries}), section="test", dataset_dir=dataset)
    assert [Path(item["image"]).resolve().name for item in items] == ["a.png", "b.png", "b.png"]


def test_missing_files_are_allowed_when_not_checked(dataset: Path) -> None:
    path = _write(dataset, {"test": [{"image": "later.png"}]})
    items = load_datalist(path, section="test", dataset_dir=dataset, check_files=False)
    assert items[0]["image"] == str(dataset / "later.png")


def test_missing_datalist_and_folder_are_refused(dataset: Path) -> None:
    with pytest.raises(InputError, match="none.json does not exist"):
        load_datalist("none.json", section="training", dataset_dir=dataset)
    path = _write(dataset, {"test": [{"image": "images/a.png"}]})
    with pytest.raises(InputError, match="is not a folder"):
        load_datalist(path, section="test", dataset_dir=dataset / "nowhere")


def test_inference_items_of_file_folder_and_datalist(dataset: Path) -> None:
    one = dataset / "images" / "a.png"
    assert inference_items(one) == [{"image": str(one)}]
    (dataset / "notes.txt").write_text("no image")
    found = [item["image"] for item in inference_items(dataset)]
    assert found == [str(dataset / "images/a.png"), str(dataset / "images/b.png")]
    path = _write(dataset, {"training": [{"image": "images/a.png"}], "validation": [{"image": "images/b.png"}]})
    assert inference_items(path)[0]["image"].endswith("b.png")
    assert inference_items(path, section="training")[0]["image"].endswith("a.png")


def test_a_folder_is_searched_for_every_kind_that_is_read(tmp_path: Path) -> None:
    """Each found file is then really read; headers of images in two files count once."""
    import itk
    import nibabel
    from PIL import Image

    from scripts.transforms import LoadCased

    volume = np.random.default_rng(0).integers(0, 900, (20, 24, 28)).astype(np.float32)
    for ending in ("nrrd", "nhdr", "mha", "mhd"):
        itk.imwrite(itk.image_from_array(volume), str(tmp_path / f"volume.{ending}"))
    for kind, name in ((nibabel.MGHImage, "a.mgz"), (nibabel.MGHImage, "a.mgh"), (nibabel.AnalyzeImage, "b.hdr")):
        nibabel.save(kind(volume, np.eye(4)), tmp_path / name)
    pictures = ("webp", "gif", "jp2", "ppm", "bmp", "tiff")
    for ending in pictures:
        Image.fromarray(volume[:, :, 0].astype(np.uint8)).resize((64, 64)).convert("RGB").save(tmp_path / f"p.{ending}")
    (tmp_path / "notes.txt").write_text("no image")
    found = [item["image"] for item in inference_items(tmp_path)]
    names = {"volume.nrrd", "volume.nhdr", "volume.mha", "volume.mhd", "a.mgz", "a.mgh", "b.hdr"}
    assert {Path(path).name for path in found} == names | {f"p.{ending}" for ending in pictures}
    for path in found:
        assert LoadCased("image")({"image": path})["image"].shape[-2] > 15


def test_inference_items_refuses_what_holds_no_image(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        inference_items(tmp_path / "none")
    with pytest.raises(InputError, match="holds no image"):
        inference_items(tmp_path)


def test_a_series_folder_is_one_case_and_mixed_folders_are_files(shared_data: Path, tmp_path: Path) -> None:
    series = shared_data / "formats" / "ct_series"
    for index, file in enumerate(sorted(series.glob("*.dcm"))[:3]):
        (tmp_path / "series").mkdir(exist_ok=True)
        shutil.copy(file, tmp_path / "series" / f"1.2.840.{index}")  # names as scanners give them, no ending
    (tmp_path / "mixed").mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm"):
        shutil.copy(shared_data / "formats" / "dicom" / name, tmp_path / "mixed" / name)
    found = [item["image"] for item in inference_items(tmp_path)]
    mixed = [str(tmp_path / "mixed" / "CT_small.dcm"), str(tmp_path / "mixed" / "MR_small.dcm")]
    assert sorted(found) == sorted([*mixed, str(tmp_path / "series")])


def test_the_real_datalist_loads(shared_data: Path) -> None:
    folder = shared_data / "medcap-open"
    sections = {
        section: load_datalist(folder / "datalist.json", section=section, dataset_dir=folder, require_caption=True)
        for section in ("training", "validation")
    }
    assert {name: len(items) for name, items in sections.items()} == {"training": 2865, "validation": 294}


@pytest.fixture
def export(shared_data: Path, tmp_path: Path) -> tuple[Path, list[str]]:
    """A folder with two CT series, slices of both in turn, and the cases in it, in order."""
    files = sorted((shared_data / "formats" / "ct_series").glob("*.dcm"))[:5]
    folder = tmp_path / "export"
    folder.mkdir()
    for index, file in enumerate(files):
        made = pydicom.dcmread(file)
        made.SeriesInstanceUID, made.SeriesNumber = f"1.2.3.{index % 2}", 3  # the same number, as of two patients
        made.save_as(folder / f"IM{index}")
    return folder, [f"{folder}/IM0::series", f"{folder}/IM1::series"]


def _without_pixels(folder: Path, name: str, sop_class: str, modality: str) -> None:
    made = pydicom.dcmread(folder / "IM0", stop_before_pixels=True)
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = sop_class
    made.Modality, made.SeriesInstanceUID = modality, f"1.2.4.{len(name)}"
    for keyword in ("Rows", "Columns"):
        delattr(made, keyword)
    made.save_as(folder / name)


def test_each_series_of_a_folder_is_one_case(export: tuple[Path, list[str]]) -> None:
    folder, series = export
    assert [item["image"] for item in inference_items(folder)] == series
    counts = [read_case(path).meta["series"]["images"] for path in series]
    assert counts == [3, 2]
    assert inference_items(series[1]) == [{"image": series[1]}]
    path = _write(folder, {"test": [{"image": "IM1::series"}, {"image": "../export/IM0::series"}]})
    assert [item["image"] for item in inference_items(path)] == [series[1], str(folder.resolve() / "IM0::series")]
    key = case_key({"image": series[0]}, root=str(folder))
    (folder / "IM4").write_bytes((folder / "IM4").read_bytes() + b"\0\0")
    assert case_key({"image": series[0]}, root=str(folder)) != key


def test_strays_do_not_take_a_series_apart(export: tuple[Path, list[str]], caplog: pytest.LogCaptureFixture) -> None:
    folder, series = export
    for file in ("IM1", "IM3"):
        (folder / file).unlink()
    assert [item["image"] for item in inference_items(folder)] == [str(folder)]
    (folder / "preview.png").write_bytes(b"x")
    kinds = ((BasicTextSRStorage, "SR"), (GrayscaleSoftcopyPresentationStateStorage, "PR"), ("1.3.12.2.1", "OT"))
    for sop_class, modality in (*kinds, (KeyObjectSelectionDocumentStorage, "KO"), (SegmentationStorage, "SEG")):
        _without_pixels(folder, f"0{modality}", sop_class, modality)
    index = Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests" / "DICOMDIR"
    shutil.copy(index, folder / "DICOMDIR")
    with caplog.at_level("WARNING"):
        found = [item["image"] for item in inference_items(folder)]
    assert found == [str(folder), f"{folder}/preview.png"]
    assert f"{folder}: passed over 6 DICOM files without an image" in caplog.text
    assert read_case(found[0]).meta["series"]["images"] == 3
    assert inference_items(folder / "0SR") == [{"image": f"{folder}/0SR"}]  # given by name, it gets its sentence
    (folder / "bad").write_bytes(b"\0" * 128 + b"DICM" + b"\x99" * 50)
    shutil.copy(folder / "IM0", folder / "cut")
    (folder / "cut").write_bytes((folder / "IM0").read_bytes()[:200])
    found = [Path(item["image"]).name for item in inference_items(folder)]
    assert found == ["IM0::series", "bad", "cut", "preview.png"]


def test_files_without_preamble_are_told_by_their_first_element(export: tuple[Path, list[str]]) -> None:
    """As old archives store them: the data set alone, from group 0008 on, and no ending in the name."""
    folder, series = export
    for file in sorted(folder.iterdir()):
        made = pydicom.dcmread(file)
        made.preamble, made.file_meta = None, FileMetaDataset()
        made.save_as(file, implicit_vr=True, little_endian=True, enforce_file_format=False)
        assert file.read_bytes()[:4] == b"\x08\x00\x05\x00"
    (folder / "notes").write_bytes(b"\x08\x00 starts so too, and is none")
    assert [item["image"] for item in inference_items(folder)] == series
    assert [read_case(path).meta["series"]["images"] for path in series] == [3, 2]


def test_a_series_above_other_folders_is_not_read_with_theirs(export: tuple[Path, list[str]]) -> None:
    folder, series = export
    (folder / "below").mkdir()
    for file in ("IM1", "IM3"):
        (folder / file).rename(folder / "below" / file)
    (folder / "IM4").unlink()
    (folder / "IM2").rename(folder / "IM1")
    found = [item["image"] for item in inference_items(folder)]
    assert found == [series[0], f"{folder}/below"]
    assert [read_case(path).meta["series"]["images"] for path in found] == [2, 2]


def test_a_path_of_a_series_that_is_none_is_refused_in_a_sentence(export: tuple[Path, list[str]]) -> None:
    folder, _ = export
    (folder / "preview.png").write_bytes(b"x")
    with pytest.raises(InputError, match="nothing: there is no such file"):
        read_case(f"{folder}/nothing::series")
    with pytest.raises(InputError, match="preview.png: is not one of several files of a DICOM series"):
        read_case(f"{folder}/preview.png::series")
    with pytest.raises(InputError, match="does not exist"):
        inference_items(f"{folder}/nothing::series")


def test_a_series_path_may_not_leave_the_dataset_folder(export: tuple[Path, list[str]]) -> None:
    folder, _ = export
    inside = folder.parent / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(folder / "IM0")
    for name in ("link::series", "../export/IM0::series"):
        with pytest.raises(InputError, match="lies outside dataset_dir"):
            load_datalist(_write(inside, {"test": [{"image": name}]}), section="test", dataset_dir=inside)


def test_headers_are_read_once_by_listing_reading_and_reporting(
    export: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, series = export
    read = []
    original = headers.read_dataset

    def counted(file: DicomFile, **options: bool) -> pydicom.Dataset:
        read.append(file.path)
        return original(file, **options)

    monkeypatch.setattr(headers, "read_dataset", counted)
    inference_items(folder)
    for path in series:
        read_case(path)
        find_source(path)
    assert sorted(read) == [f"{folder}/IM{k}" for k in range(5)]
    changed = pydicom.dcmread(folder / "IM0")
    changed.SeriesInstanceUID = "1.2.3.14"
    changed.save_as(folder / "IM0")
    assert [item["image"] for item in inference_items(folder)][0] == f"{folder}/IM0"


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ('{"image": "a.png", "image": "b.png", "caption": "x"}', "entry 1 .* has the key 'image' twice"),
        ('{"image": "a.png", "caption": "x\\u0000"}', "entry 1 .* NUL"),
        ('{"image": "a.png", "caption": "x\\ud800"}', "entry 1 .* lone surrogate"),
        ('{"image": "sub\\\\a.png", "caption": "x"}', "entry 1 .* back-slashes"),
    ],
)
def test_what_json_lets_through_is_refused_by_entry(tmp_path: Path, entry: str, reason: str) -> None:
    (tmp_path / "a.png").touch()
    text = '{"training": [{"image": "a.png", "caption": "x"}, ' + entry + "]}"
    (tmp_path / "datalist.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=reason):
        load_datalist(tmp_path / "datalist.json", section="training", dataset_dir=tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_datalists_of_every_unicode_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "ü.png").touch()
    (tmp_path / "datalist.json").write_bytes('{"test": [{"image": "ü.png"}]}'.encode(encoding))
    assert load_datalist(tmp_path / "datalist.json", section="test", dataset_dir=tmp_path)[0]["image"].endswith("ü.png")


def test_a_section_that_is_there_twice(tmp_path: Path) -> None:
    (tmp_path / "datalist.json").write_text('{"test": [{"image": "a"}], "test": []}')
    with pytest.raises(InputError, match="'test' twice"):
        load_datalist(tmp_path / "datalist.json", section="test", dataset_dir=tmp_path)


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.xlsx"])
def test_a_table_is_told_which_command_makes_a_datalist_of_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("image,caption\na.png,A caption.\n")
    command = (
        f"python -m scripts.commands.datalist table --source {tmp_path} --table {name} --output {tmp_path}/pairs.json"
    )
    for given in (tmp_path / name, name, "datalist.json"):
        with pytest.raises(InputError, match=re.escape(command)):
            load_datalist(given, section="training", dataset_dir=tmp_path)
    with pytest.raises(InputError, match=re.escape(command)):
        inference_items(tmp_path / name)


def test_the_command_that_a_table_is_told_works(tmp_path: Path) -> None:
    from scripts.commands.datalist import main

    rows = [f"{number}.png,Axial CT number {number} of the head." for number in range(12)]
    (tmp_path / "pairs.csv").write_text("\n".join(["image,caption", *rows]))
    for number in range(12):
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(tmp_path / f"{number}.png")
    with pytest.raises(InputError) as told:
        load_datalist("pairs.csv", section="training", dataset_dir=tmp_path)
    words = re.search(r"scripts\.commands\.datalist (.*?) makes a datalist", str(told.value))[1].split()
    main(words)
    assert load_datalist("pairs.json", section="training", dataset_dir=tmp_path, require_caption=True)
