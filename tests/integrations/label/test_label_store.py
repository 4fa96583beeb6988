"""The app's parts without a server: datastore, versions, labels, options."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pydicom
import pytest
from label_server import missing_label_server

if missing_label_server() is not None:
    pytest.skip(str(missing_label_server()), allow_module_level=True)

import lib.labels as labels  # noqa: E402
from lib.local_store import LocalCaptionStore  # noqa: E402
from lib.options import DEFAULTS, caption_options  # noqa: E402
from lib.versions import Versions  # noqa: E402
from monailabel.interfaces.exception import ImageNotFoundException  # noqa: E402
from pydicom.uid import ParametricMapStorage, generate_uid  # noqa: E402
from study_files import body, write_series  # noqa: E402

from scripts.errors import InputError  # noqa: E402
from scripts.outputs.dicom.sr import write_sr  # noqa: E402


def store_of(folder: Path) -> LocalCaptionStore:
    return LocalCaptionStore(folder, auto_reload=False)


def label_file(folder: Path, **content: object) -> str:
    path = folder / f"given_{os.getpid()}.json"
    path.write_text(json.dumps(content))
    return str(path)


def pictures(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def test_files_series_and_equal_names_are_images_of_their_own(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "a.nii.gz", "deep/er/b.PNG", ".hidden/c.png", "labels/caption/a.json", "notes.txt")
    write_series(tmp_path / "patient.1" / "1.2.840", body(3))
    store = store_of(tmp_path)
    assert set(store.list_images()) == {"a", "a.png", "deep/er/b", "patient.1/1.2.840"}
    assert {Path(store.get_image_uri(image)).name for image in ("a", "a.png")} == {"a.nii.gz", "a.png"}
    assert store.get_image_uri("patient.1/1.2.840") == str((tmp_path / "patient.1" / "1.2.840").resolve())
    assert set(store_of(tmp_path).list_images()) == set(store.list_images())  # the same after a restart
    assert store.id_of("deep/er/b.PNG") == "deep/er/b"


def test_dicom_without_an_ending_and_reports_beside_a_series(tmp_path: Path) -> None:
    source = write_series(tmp_path / "made" / "one", body(3))
    other = write_series(tmp_path / "made" / "two", body(2))
    studies = tmp_path / "studies"
    (studies / "export").mkdir(parents=True)
    for number, file in enumerate([*sorted(source.iterdir()), *sorted(other.iterdir())]):
        (studies / "export" / f"IM{number:04d}").write_bytes(file.read_bytes())  # two series, names without an ending
    source.rename(studies / "series")
    write_sr(studies / "series", {"caption": "a report"}, studies / "series" / "report.dcm")
    write_sr(studies / "series", {"caption": "a report"}, studies / "report.dcm")
    parametric = pydicom.dcmread(next((studies / "series").iterdir()))
    parametric.SOPClassUID, parametric.SeriesInstanceUID = ParametricMapStorage, generate_uid()
    parametric.save_as(studies / "series" / "map.dcm")  # only its SOP class tells that it is no image
    assert store_of(studies).list_images() == [*(f"export/IM{k:04d}" for k in range(5)), "series"]


def test_only_what_lies_inside_is_found(tmp_path: Path) -> None:
    pictures(tmp_path, "secret.png")
    store = store_of(pictures(tmp_path / "studies", "a.png"))
    (tmp_path / "studies" / "link.png").symlink_to(tmp_path / "secret.png")
    store.refresh()
    assert store.find("a") == store.find("a.png") == str((tmp_path / "studies" / "a.png").resolve())
    for outside in ("../secret.png", str(tmp_path / "secret.png"), "link", "link.png", "", ".", "a\0b", "x" * 5000):
        assert store.find(outside) == "", outside


def test_a_series_with_a_link_that_leads_out_is_not_found(tmp_path: Path) -> None:
    elsewhere = write_series(tmp_path / "elsewhere", body(3))
    studies = tmp_path / "studies"
    series, other = (write_series(studies / name, body(3)) for name in ("series", "other"))
    store = store_of(studies)
    assert store.find("series") == str(series.resolve())
    name = sorted(file.name for file in elsewhere.iterdir())[1]
    (series / name).unlink()
    (series / name).symlink_to(elsewhere / name)
    (other / name).unlink()
    (other / name).symlink_to(series / sorted(file.name for file in series.iterdir())[0])  # inside: that is fine
    assert store.find("series") == store.get_image_uri("series") == ""
    assert store.find("other") == str(other.resolve())


def test_a_reviewed_caption_is_never_replaced_by_a_draft(tmp_path: Path) -> None:
    store = store_of(pictures(tmp_path, "a.png", "b.png"))
    draft = {"status": "draft", "caption": "machine", "confidence": 0.4, "slice": 3, "plane": "axial"}
    store.save_label("a", label_file(tmp_path, **draft), "caption", {})
    assert store.get_unlabeled_images() == ["a", "b"] and store.reviewed() == []
    store.save_label("a", label_file(tmp_path, caption="  a\nperson "), "caption", {})
    store.save_label("a", label_file(tmp_path, **{**draft, "caption": "machine again"}), "caption", {})
    kept = store.caption_of("a")
    assert (kept["caption"], kept["draft"], kept["slice"], kept["status"]) == ("a person", "machine", 3, "reviewed")
    store.save_label("a", label_file(tmp_path, caption="a person, again"), "caption", {})
    assert store.caption_of("a")["draft"] == "machine"
    [item] = store_of(tmp_path).reviewed()
    assert (item.name, item.caption, item.slice, item.plane) == ("a", "a person, again", 3, "axial")
    with pytest.raises(ImageNotFoundException):
        store.save_label("nowhere", label_file(tmp_path, caption="x"), "caption", {})


def test_captions_of_several_slices_are_all_kept_and_learned_from(tmp_path: Path) -> None:
    store = store_of(pictures(tmp_path, "a.nii.gz"))
    draft = {"status": "draft", "caption": "machine", "confidence": 0.4, "slice": 3, "plane": "axial"}
    store.save_label("a", label_file(tmp_path, **draft), "caption", {})
    for index, text in ((3, "three"), (9, "nine"), (3, "three, again"), (5, "five")):
        store.save_label("a", label_file(tmp_path, caption=text, slice=index, plane="axial"), "caption", {})
    kept = store_of(tmp_path).caption_of("a")
    assert (kept["caption"], kept.get("draft")) == ("five", None)  # the draft was of slice 3
    learned = {item.slice: item.caption for item in store.reviewed()}
    assert learned == {3: "three, again", 9: "nine", 5: "five"}
    assert {(item.name, item.group) for item in store.reviewed()} == {("a", "")}  # on one side of the split
    assert next(o for o in kept["others"] if o["slice"] == 3)["draft"] == "machine"
    with pytest.raises(InputError, match="others"):
        store.save_label("a", label_file(tmp_path, caption="x", others=[{"text": 1}]), "caption", {})


@pytest.mark.parametrize(("study", "group"), [("1.2.3", "1.2.3"), ("UNK", ""), (None, "")])
def test_images_of_one_study_are_learned_from_together(tmp_path: Path, study: str | None, group: str) -> None:
    store = store_of(pictures(tmp_path, "a.png", "b.png"))
    for name in ("a", "b"):
        store.update_image_info(name, {"StudyInstanceUID": study})
        store.save_label(name, label_file(tmp_path, caption="x"), "caption", {})
    assert [item.group for item in store.reviewed()] == [group, group]


def test_a_draft_that_is_fetched_changed_and_sent_back_is_reviewed(tmp_path: Path) -> None:
    store = store_of(pictures(tmp_path, "a.png"))
    draft = {"status": "draft", "caption": "machine", "confidence": 0.4, "model_version": "1"}
    store.save_label("a", label_file(tmp_path, **draft), "caption", {})
    store.save_label("a", label_file(tmp_path, **{**draft, "caption": "machine 2", "confidence": 0.5}), "caption", {})
    assert store.caption_of("a")["status"] == "draft"  # by the network: another confidence
    fetched = {**store.caption_of("a"), "caption": "a person"}
    store.save_label("a", label_file(tmp_path, **fetched), "caption", {})
    kept = store.caption_of("a")
    assert (kept["status"], kept["caption"], kept["draft"]) == ("reviewed", "a person", "machine 2")


def test_a_caption_saved_as_final_counts_as_reviewed(tmp_path: Path) -> None:
    store = store_of(pictures(tmp_path, "a.png"))
    store.save_label("a", label_file(tmp_path, caption="by a stock client"), "final", {})
    assert store.get_labeled_images() == ["a"] and store.reviewed()[0].caption == "by a stock client"


def _save_many(folder: Path, first: int) -> None:
    store = store_of(folder)
    for k in range(first, 40, 4):
        store.save_label(f"p{k:02d}", label_file(folder, caption=f"caption {k}"), "caption", {"number": k})


def test_four_processes_that_save_at_once_lose_nothing(tmp_path: Path) -> None:
    pictures(tmp_path, *(f"p{k:02d}.png" for k in range(40)))
    store_of(tmp_path)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_save_many, args=(tmp_path, first)) for first in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    store = store_of(tmp_path)
    assert len(store.get_labeled_images()) == 40
    for k in range(40):
        assert store.get_label_info(f"p{k:02d}", "caption")["number"] == k
        assert store.caption_of(f"p{k:02d}")["caption"] == f"caption {k}"


def test_an_upload_does_not_replace_another_image(tmp_path: Path) -> None:
    store = store_of(pictures(tmp_path / "studies", "a.png"))
    pictures(tmp_path, "same.png", "other.png")
    (tmp_path / "same.png").write_bytes(b"a.png")
    assert store.add_image("a", str(tmp_path / "same.png"), {}) == "a"
    with pytest.raises(InputError, match="taken"):
        store.add_image("a", str(tmp_path / "other.png"), {})
    for bad in ("../a", "/a", ".a", "x/../../a", "labels\\..\\a"):
        with pytest.raises(InputError, match="inside"):
            store.add_image(bad, str(tmp_path / "other.png"), {})
    (tmp_path / "header.mhd").write_text("NDims = 3\nDimSize = 9 9 9\nElementDataFile = patient/voxels.raw\n")
    with pytest.raises(InputError, match=r"^c: is a header without its voxels.*send one file"):
        store.add_image("c", str(tmp_path / "header.mhd"), {})
    assert store.add_image("new/b", str(tmp_path / "other.png"), {}) == "new/b"
    assert Path(store.get_image_uri("new/b")).read_bytes() == b"other.png"


def test_a_version_is_active_whole_or_not_at_all(tmp_path: Path) -> None:
    versions = Versions(tmp_path / "versions")
    assert versions.active().name == "bundle" and versions.active().weights is None
    first, second = versions.new_folder(), versions.new_folder()
    assert (first.name, second.name) == ("0001", "0002")
    with pytest.raises(InputError, match="0001"):
        versions.activate("0001")  # unfinished: no model in it
    (second / "model.pt").write_bytes(b"x")
    assert versions.activate("0002").weights == second / "model.pt"
    assert Versions(tmp_path / "versions").active().name == "0002"
    assert versions.names() == ["bundle", "0002"]
    assert versions.activate("bundle").weights is None
    assert [path.name for path in versions.folder.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"caption": 3}',
        '{"caption": "  "}',
        '{"caption": "x", "status": "done"}',
        '{"caption": "' + "x" * 10_001 + '"}',
    ],
)
def test_what_is_no_caption_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "label.json"
    path.write_text(content)
    with pytest.raises(InputError, match="label.json"):
        labels.read_label(path)


def test_options_are_checked_and_strangers_left_alone() -> None:
    plain = caption_options({"model": "caption", "client_id": "x", "result_extension": ".nrrd"})
    assert plain == {**DEFAULTS, "prompt": None}
    assert caption_options({"slice": 0.25, "window": "lung"})["slice"] == 0.25
    with pytest.raises(InputError, match="did you mean 'window'"):
        caption_options({"windw": "lung"})
    for bad in ({"num_beams": True}, {"num_beams": 33}, {"window": 3}, {"slice": None}, {"explain": "yes"}):
        with pytest.raises(InputError, match=next(iter(bad))):
            caption_options(bad)


def test_a_draft_keeps_what_the_network_doubts_until_a_person_saves_it(tmp_path: Path) -> None:
    store = store_of(pictures(tmp_path, "a.png"))
    reply = {"caption": "machine", "confidence": 0.4, "finding_confidence": 0.2, "abstained": True}
    draft = labels.draft_label({**reply, "model_version": "1"})
    store.save_label("a", label_file(tmp_path, **draft), "caption", {})
    kept = store.caption_of("a")
    assert kept["abstained"] is True and kept["finding_confidence"] == 0.2
    assert store.get_label_info("a", "caption")["abstained"] is True
    store.save_label("a", label_file(tmp_path, **{**kept, "status": "reviewed"}), "caption", {})
    kept = store.caption_of("a")
    assert kept["status"] == "reviewed" and "abstained" not in kept and "finding_confidence" not in kept
