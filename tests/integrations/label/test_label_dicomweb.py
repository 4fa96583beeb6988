"""The app's datastore on a real Orthanc: series listed, fetched whole, captions kept; without a network or a server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from label_server import missing_label_server
from orthanc import Orthanc, missing_orthanc, orthanc_server

if missing_label_server() is not None:
    pytest.skip(str(missing_label_server()), allow_module_level=True)
if missing_orthanc() is not None:
    pytest.skip(str(missing_orthanc()), allow_module_level=True)

from lib.dicomweb_client import CarefulClient  # noqa: E402
from lib.dicomweb_store import DicomWebCaptionStore  # noqa: E402
from monailabel.interfaces.exception import ImageNotFoundException  # noqa: E402
from study_files import body, write_series  # noqa: E402

from scripts.errors import InputError  # noqa: E402
from scripts.reading import read_case  # noqa: E402


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Orthanc, Path, str]]:
    folder = tmp_path_factory.mktemp("dicomweb")
    series = write_series(folder / "series", body())
    uid = str(pydicom.dcmread(series / "000.dcm", stop_before_pixels=True).SeriesInstanceUID)
    with orthanc_server(folder) as server:
        server.store(sorted(series.iterdir()))
        yield server, series, uid


def store_of(orthanc: Orthanc, cache: Path) -> DicomWebCaptionStore:
    return DicomWebCaptionStore(client=CarefulClient(orthanc.dicomweb), search_filter={}, cache_path=str(cache))


def test_a_series_comes_whole_and_reads_as_the_original(orthanc: tuple[Orthanc, Path, str], tmp_path: Path) -> None:
    server, series, uid = orthanc
    store = store_of(server, tmp_path)
    assert store.list_images() == [uid]
    folder = Path(store.find(uid))
    assert len(list(folder.iterdir())) == len(list(series.iterdir()))
    assert (read_case(folder, slice=5).pixels == read_case(series, slice=5).pixels).all()
    assert not [path for path in store.state_folder.iterdir() if path.name.startswith("series.")]
    assert "ID-4711" not in (store.folder / "datastore_v2.json").read_text()  # no patient in our files


@pytest.mark.parametrize("name", ["1.2.3.4", "../../etc", "/etc", "", "1..2", "1.2.3/../../.."])
def test_what_is_no_series_of_the_server_is_not_found(orthanc: tuple[Orthanc, Path, str], tmp_path: Path, name: str):
    assert store_of(orthanc[0], tmp_path).find(name) == ""


def test_captions_are_kept_beside_the_cache_and_over_a_restart(
    orthanc: tuple[Orthanc, Path, str], tmp_path: Path
) -> None:
    server, _, uid = orthanc
    store = store_of(server, tmp_path / "cache")
    label = tmp_path / f"label_{os.getpid()}.json"
    label.write_text(json.dumps({"caption": "machine", "status": "draft", "slice": 5, "plane": "axial"}))
    assert store.save_label(uid, str(label), "caption", {}) == uid
    assert store.get_unlabeled_images() == [uid]
    label.write_text(json.dumps({"caption": "a person"}))
    store.save_label(uid, str(label), "caption", {})
    store.save_label(uid, str(label), "final", {})  # not sent to the server as a DICOM SEG
    again = store_of(server, tmp_path / "cache")
    assert again.get_labeled_images() == [uid] and again.status()["completed"] == 1
    [item] = again.reviewed()
    assert (item.caption, item.slice, item.image) == ("a person", 5, again.find(uid))
    assert len(server.find_studies()) == 1
    with pytest.raises(ImageNotFoundException, match=r"1\.2\.3"):
        again.save_label("1.2.3", str(label), "caption", {})
    with pytest.raises(InputError, match="store the DICOM files there"):
        again.add_image("x", str(label), {})


def test_a_server_that_is_gone_is_one_sentence(tmp_path: Path) -> None:
    store = store_of(Orthanc("http://127.0.0.1:9"), tmp_path)
    with pytest.raises(InputError, match="did not answer"):
        store.list_images()
