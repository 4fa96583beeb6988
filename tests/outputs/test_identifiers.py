"""Identifiers planted all over 50 images are in no output but those that a report must name its patient with."""

from __future__ import annotations

import gzip
import json
import logging
import re
import threading
import urllib.error
import urllib.request
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from cache_cases import TinyEncoder
from config_run import run_config
from dicom_checks import assert_valid
from monai.transforms import Compose
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.overlays import numpy_handler  # noqa: F401  (the package has overlays)
from pydicom.uid import generate_uid
from square_cases import case_of
from staged import Staged

from scripts.commands.serve import CaptionServer
from scripts.data import CacheOptions, FeatureCache
from scripts.outputs.delivery import Delivery
from scripts.outputs.dicom.identity import ALWAYS, SEQUENCES, WHERE_PRESENT
from scripts.transforms import Letterboxd, LoadCased, WindowToUnitd

BASES = ("CT_small.dcm", "MR_small.dcm", "examples_rgb_color.dcm", "examples_overlay.dcm", "MR_small_RLE.dcm")
FORBIDDEN = {
    "PatientComments": "LT", "Occupation": "SH", "AdmissionID": "LO", "PatientAddress": "LO", "EthnicGroup": "SH",
    "PatientTelephoneNumbers": "SH", "OtherPatientNames": "PN", "OtherPatientIDs": "LO", "PatientMotherBirthName": "PN",
    "MilitaryRank": "LO", "AdditionalPatientHistory": "LT", "PerformingPhysicianName": "PN", "OperatorsName": "PN",
    "NameOfPhysiciansReadingStudy": "PN", "PhysiciansOfRecord": "PN", "RequestingPhysician": "PN",
    "InstitutionName": "LO", "InstitutionAddress": "ST", "StationName": "SH", "DeviceSerialNumber": "LO",
    "StudyDescription": "LO", "SeriesDescription": "LO", "ImageComments": "LT", "ProtocolName": "LO",
    "RequestedProcedureDescription": "LO", "StudyComments": "LT", "CurrentPatientLocation": "LO",
    "PatientInsurancePlanCodeSequence": "SQ", "ContributingEquipmentSequence": "SQ", "RequestAttributesSequence": "SQ",
}  # fmt: skip
"""Attributes that no report requires."""
NAMED = {"PatientName": "NAMED^A", "PatientID": "NAMEDB", "AccessionNumber": "NAMEDC", "StudyID": "NAMEDD",
         "ReferringPhysicianName": "NAMED^E"}  # fmt: skip
"""Identifiers that a report names its patient and study with; everywhere else they are forbidden, too."""
TOKEN = re.compile(rb"PLANTED[A-Z0-9]+|NAMED\^?[A-E]")


def _planted(target: Path, base: str, number: int) -> Path:
    dataset = pydicom.dcmread(get_testdata_file(base))
    for place, (keyword, vr) in enumerate(FORBIDDEN.items()):
        token = f"PLANTED{number}X{place}"
        if vr == "SQ":
            item, inner = Dataset(), Dataset()
            inner.PatientComments = token
            item.InstitutionName, item.DeviceSerialNumber, item.OperatorsName = token, token, token
            item.ReferencedPatientSequence = [inner]
            setattr(dataset, keyword, [item])
        else:
            dataset.add_new(keyword, vr, token)
    for keyword, value in NAMED.items():
        setattr(dataset, keyword, value)
    dataset.PatientBirthDate, dataset.StudyInstanceUID = "19610203", generate_uid()
    for group in (0x0019, 0x5533):
        block = dataset.private_block(group, "PLANTEDCREATOR", create=True)
        block.add_new(1, "LO", f"PLANTED{number}P{group}")
    dataset.add_new(0x60000022, "LO", f"PLANTED{number}OVERLAY")
    dataset.add_new(0x60001500, "LO", f"PLANTED{number}LABEL")
    dataset.add_new(0x00204000, "LT", f"PLANTED{number}COMMENT")
    dataset.file_meta.SourceApplicationEntityTitle = "PLANTEDAE"
    dataset.preamble = b"PLANTEDPREAMBLE".ljust(128, b"\0")
    dataset.save_as(target)
    return target


def _all_bytes(path: Path) -> bytes:
    """Of a file, with what is compressed in it."""
    content = path.read_bytes()
    found = [path.name.encode(), content]
    if content[:2] == b"\x1f\x8b":
        found.append(gzip.decompress(content))
    for start in re.finditer(rb"x[\x01\x5e\x9c\xda]", content):
        try:
            found.append(zlib.decompressobj().decompress(content[start.start() :]))
        except zlib.error:
            continue
    return b"\n".join(found)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("planted")
    return [_planted(folder / f"{n:02d}.dcm", BASES[n % len(BASES)], n) for n in range(50)]


def test_the_search_finds_what_is_there(planted: list[Path]) -> None:
    found = set(TOKEN.findall(_all_bytes(planted[7])))
    assert len(found) >= len(FORBIDDEN) + len(NAMED)


def test_reports_name_the_patient_and_nothing_else_is_carried(
    planted: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    outputs = ["jsonl", "html", "dicom_sr", "dicom_sr_enhanced", "fhir", "overlay", "nifti_mask", "dicom_pdf",
               "dicom_seg"]  # fmt: skip
    for name in ("pydicom", "highdicom", "scripts"):
        caplog.set_level(logging.DEBUG, name)
    quick, all_of_them = Delivery(tmp_path / "out", outputs=outputs[:5]), Delivery(tmp_path / "drawn", outputs=outputs)
    for number, file in enumerate(planted):
        case = case_of(str(file), size=128, window="auto")
        delivered = (all_of_them if number % 7 == 0 else quick).deliver(case)
        assert not delivered.record.get("output_errors"), delivered.record["output_errors"]
    quick.finish()
    all_of_them.finish()
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.parts[len(tmp_path.parts) + 1] for path in written} >= {*outputs[2:]}
    for path in written:
        found = {token.decode() for token in TOKEN.findall(_all_bytes(path))}
        identified = path.parent.name.startswith("dicom_") or path.parent.name == "fhir"
        allowed = {*NAMED.values(), "NAMEDA", "NAMEDE"} if identified else set()
        assert found <= allowed, f"{path} holds {sorted(found - allowed)}"
    said = caplog.text + "".join(capfd.readouterr())
    assert not TOKEN.search(said.encode()), TOKEN.findall(said.encode())


def test_reports_of_such_images_are_valid_and_hold_their_modules_only(planted: list[Path], tmp_path: Path) -> None:
    delivery = Delivery(tmp_path, outputs=["dicom_sr", "dicom_pdf", "dicom_seg"])
    for file in planted[:5]:
        delivery.deliver(case_of(str(file), size=128, window="auto"))
    delivery.finish()
    allowed = {*ALWAYS, *WHERE_PRESENT, *SEQUENCES}
    for path in tmp_path.rglob("*.dcm"):
        document = pydicom.dcmread(path)
        about_people = {e.keyword for e in document if e.tag.group in (0x0010, 0x0012, 0x0032, 0x0038, 0x0040)}
        about_people -= {"ContentSequence", "ConceptNameCodeSequence", "ContentTemplateSequence", "ValueType",
                         "ContinuityOfContent", "VerificationFlag", "CompletionFlag", "CompletionFlagDescription",
                         "PreliminaryFlag"}  # fmt: skip
        assert {k for k in about_people if "Sequence" not in k} <= allowed
        assert document.PatientID == NAMED["PatientID"] and document.AccessionNumber == NAMED["AccessionNumber"]
        assert_valid(path)


def test_a_cache_of_such_images_holds_none_of_it(planted: list[Path], tmp_path: Path) -> None:
    chain = Compose([LoadCased("image"), WindowToUnitd("image"), Letterboxd("image", size=8)])
    items: list[dict[str, Any]] = [{"image": str(file), "caption": "a caption"} for file in planted[:10]]
    cache = FeatureCache(CacheOptions(tmp_path, {"general": TinyEncoder()}, progress=False), chain)
    cache.build(items)
    assert cache.missing(items) == 0
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert not TOKEN.search(_all_bytes(path)), path


def test_an_empty_attribute_of_type_1c_is_not_copied(shared_data: Path, tmp_path: Path) -> None:
    """A source that was de-identified without saying how: its segmentation has to name a method."""
    delivery = Delivery(tmp_path, outputs=["dicom_seg"])
    source = shared_data / "formats" / "ct_series"
    assert not delivery.deliver(case_of(str(source), size=128, window="auto")).record.get("output_errors")
    [path] = (tmp_path / "dicom_seg").iterdir()
    assert_valid(path)
    document = pydicom.dcmread(path)
    assert document.get("DeidentificationMethod") != "" and np.asarray(document.pixel_array).any()


def test_a_training_on_such_images_tells_nobody(
    planted: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Run folder with log, TensorBoard, samples, curves and checkpoints; cache; terminal."""
    entries = [{"image": str(file), "caption": f"ct of the {number} ."} for number, file in enumerate(planted[:8])]
    data = tmp_path / "data"
    data.mkdir()
    (data / "datalist.json").write_text(json.dumps({"training": entries[:5], "validation": entries[5:]}))
    changes = {"dataset_dir": str(planted[0].parent), "datalist": str(data / "datalist.json"), "epochs": 1}
    run_config(["train.json"], data, tmp_path / "run", **changes)
    written = [path for path in (*(tmp_path / "run").rglob("*"), *(data / "features").rglob("*")) if path.is_file()]
    assert any("tfevents" in path.name for path in written) and {"log.txt", "samples.json"} <= {p.name for p in written}
    for path in written:
        assert not TOKEN.search(_all_bytes(path)), path
    said = caplog.text + "".join(capfd.readouterr())
    assert not TOKEN.search(said.encode()), TOKEN.findall(said.encode())


def test_replies_and_log_of_the_service_tell_nobody(planted: list[Path], capfd: pytest.CaptureFixture[str]) -> None:
    """Of images by name and by their bytes, at once and as events, of slices, and of one that cannot be read."""
    server = CaptionServer(Staged(), root=planted[0].parent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    said = []

    def ask(method: str, path: str, content: bytes = b"", kind: str = "application/json", accept: str = "*/*") -> bytes:
        request = urllib.request.Request(server.url + path, content or None, method=method)
        request.add_header("Content-Type", kind)
        request.add_header("Accept", accept)
        try:
            said.append(urllib.request.urlopen(request, timeout=60).read())
        except urllib.error.HTTPError as refused:
            said.append(refused.read())
        return said[-1]

    for number, file in enumerate(planted[:10]):
        accept = "text/event-stream" if number % 2 else "*/*"
        assert b"pneumonia" in ask("POST", "/caption", json.dumps({"image": file.name}).encode(), accept=accept)
        content = file.read_bytes()
        ask("POST", "/caption", content[: 400 + 900 * number], "application/dicom")
        [listed] = json.loads(ask("POST", "/images?name=a.dcm", content, "application/dicom"))["images"]
        for path in ("stack", "stack/0", "shown"):
            ask("GET", f"/images/{listed['id']}/{path}")
    ask("GET", "/metrics")
    ask("GET", "/folder")
    server.shutdown()
    server.server_close()
    said.append("".join(capfd.readouterr()).encode())
    for one in said:
        assert not TOKEN.search(one), TOKEN.findall(one)
