"""Datalists: what is accepted, made absolute, and refused before any work."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from scripts.data import image_paths, inference_items, load_datalist
from scripts.errors import InputError


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

    from scripts.windowing import LoadCased

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
