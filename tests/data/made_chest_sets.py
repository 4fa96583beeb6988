"""Made trees of public data sets of the chest, X-ray and CT."""
# ruff: noqa: E501 (rows of tables stand on one line)

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from made_tables import as_json, picture, plain, table, volume
from PIL import Image


def iu_openi(root: Path) -> None:
    for number in range(1, 13):
        images = [f"CXR{number}_1_IM-0001-{view}" for view in (3001, 4001)]
        parts = {
            "COMPARISON": "None.",
            "INDICATION": "XXXX-year-old",
            "FINDINGS": f"The heart is XXXX normal {number}.",
            "IMPRESSION": "No disease.",
        }
        texts = "".join(f'<AbstractText Label="{label}">{text}</AbstractText>' for label, text in parts.items())
        figures = "".join(f'<parentImage id="{image}"><panel/></parentImage>' for image in images)
        body = f"<MedlineCitation><Article><Abstract>{texts}</Abstract></Article></MedlineCitation><MeSH><major>normal</major></MeSH>"
        plain(
            root / "ecgen-radiology" / f"{number}.xml",
            [f'<eCitation><uId id="CXR{number}"/>{body}{figures}</eCitation>'],
        )
        for image in images:
            picture(root / "NLMCXR_png" / f"{image}.png")


def iu_kaggle(root: Path) -> None:
    reports, projections = [], []
    for uid in range(1, 13):
        reports.append(
            (
                uid,
                "normal",
                "normal",
                "Xray Chest PA",
                "pain",
                "None.",
                f"The lungs are clear {uid}." if uid != 3 else "",
                "Normal chest.",
            )
        )
        for view, projection in ((1001, "Frontal"), (2001, "Lateral")):
            name = f"{uid}_IM-0001-{view}.dcm.png"
            projections.append((uid, name, projection))
            picture(root / "images" / "images_normalized" / name)
    columns = ["uid", "MeSH", "Problems", "image", "indication", "comparison", "findings", "impression"]
    table(root / "indiana_reports.csv", columns, reports)
    table(root / "indiana_projections.csv", ["uid", "filename", "projection"], projections)


def r2gen(root: Path) -> None:
    content: dict[str, list[Any]] = {}
    for split, count in (("train", 6), ("val", 3), ("test", 3)):
        content[split] = []
        for number in range(count):
            name = f"CXR{number}_{split}"
            paths = [f"{name}/0.png", f"{name}/1.png"]
            content[split].append(
                {"id": name, "report": f"the chest of one {number} .", "image_path": paths, "split": split}
            )
            for path in paths:
                picture(root / "images" / path, seed=number + 1)
    as_json(root / "annotation.json", content)


def mimic(root: Path, *, sectioned: bool = True) -> None:
    splits, metadata, sections = [], [], []
    for number in range(8):
        subject, study = f"1000{number:04d}", f"5041{number:04d}"
        split = "train" if number < 5 else "validate" if number < 7 else "test"
        folder = root / "files" / "p10" / f"p{subject}"
        for view in ("PA", "LATERAL"):
            dicom = f"{number:08x}-{view.lower()}"
            splits.append((dicom, study, subject, split))
            metadata.append((dicom, subject, study, view))
            picture(folder / f"s{study}" / f"{dicom}.jpg")
        sections.append((f"s{study}", f"No pneumonia {number}.", f"Lungs are clear {number}.", "", ""))
        report = f" FINAL REPORT\n EXAMINATION: CHEST\n\n FINDINGS:\n\n Lungs are clear\n in ___ {number}.\n\n IMPRESSION: No pneumonia {number}."
        plain(folder / f"s{study}.txt", [report])
    table(root / "mimic-cxr-2.0.0-split.csv.gz", ["dicom_id", "study_id", "subject_id", "split"], splits)
    table(root / "mimic-cxr-2.0.0-metadata.csv.gz", ["dicom_id", "subject_id", "study_id", "ViewPosition"], metadata)
    if sectioned:
        columns = ["study", "impression", "findings", "last_paragraph", "comparison"]
        table(root / "mimic_cxr_sectioned.csv", columns, sections)


def mimic_reports(root: Path) -> None:
    mimic(root, sectioned=False)


def padchest(root: Path) -> None:
    columns = [
        "",
        "ImageID",
        "ImageDir",
        "StudyID",
        "PatientID",
        "PatientBirth",
        "PatientSex_DICOM",
        "ViewPosition_DICOM",
        "Projection",
        "Report",
        "Labels",
    ]
    rows = []
    for number in range(20):
        name, projection = f"{number}_image.png", "PA" if number % 2 else "L"
        rows.append(
            (
                number,
                name,
                number % 3,
                f"s{number // 2}",
                f"p{number // 4}",
                1950,
                "F",
                "POSTEROANTERIOR",
                projection,
                f"sin hallazg {number}",
                "['normal']",
            )
        )
        path = root / str(number % 3) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        grey = np.random.default_rng(number).integers(0, 4095, (40, 36), dtype=np.uint16)
        Image.fromarray(grey).save(path)
    table(root / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", columns, rows)


def padchest_gr(root: Path) -> None:
    reports, master = [], []
    for number in range(9):
        name = f"{number}_gr.png"
        findings = [{"sentence_en": f"The heart {number}.", "sentence_es": f"El corazon {number}.", "boxes": [[0, 0, 0.5, 0.5]]},
                    {"sentence_en": "One nodule.", "sentence_es": "Un nodulo.", "boxes": []}]  # fmt: skip
        reports.append({"ImageID": name, "findings": findings})
        split = "train" if number < 5 else "validation" if number < 7 else "test"
        master.append((name, split, "F", f"patient{number}"))
        picture(root / "images_grounding" / name)
    as_json(root / "grounded_reports_20240819.json", reports)
    table(root / "master_table.csv", ["ImageID", "split", "PatientSex_DICOM", "PatientID"], master)


def chexpert_plus(root: Path) -> None:
    columns = [
        "path_to_image",
        "path_to_dcm",
        "frontal_lateral",
        "ap_pa",
        "deid_patient_id",
        "report",
        "section_findings",
        "section_impression",
        "split",
    ]
    rows = []
    for number in range(10):
        split = "train" if number < 7 else "valid"
        for view, side in ((1, "Frontal"), (2, "Lateral")):
            stem = f"{split}/patient{number:05d}/study1/view{view}_{side.lower()}"
            rows.append(
                (
                    f"{stem}.jpg",
                    f"{stem}.dcm",
                    side,
                    "AP",
                    f"patient{number:05d}",
                    "whole",
                    "" if number % 4 else "Findings.",
                    f"1. One effusion {number}.",
                    split,
                )
            )
            picture(root / "PNG" / "PNG" / f"{stem}.png")
    table(root / "df_chexpert_plus_240401.csv", columns, rows)


def ct_rate(root: Path) -> None:
    _volumes(root)
    for name, split, count in (("train", "train", 3), ("validation", "valid", 2)):
        rows = [
            (f"{split}_{n}_a_1.nii.gz", "pain", "non-contrast", f"The chest {n} is clear.", f"One nodule {n}.")
            for n in range(1, count + 1)
        ]
        columns = ["VolumeName", "ClinicalInformation_EN", "Technique_EN", "Findings_EN", "Impressions_EN"]
        table(root / f"{name}_reports.csv", columns, rows)


def radgenome(root: Path) -> None:
    _volumes(root)
    for name, split, count in (("train", "train", 3), ("validation", "valid", 2)):
        rows = []
        for number in range(1, count + 1):
            volume_name = f"{split}_{number}_a_1.nii.gz"
            rows += [
                (volume_name, "lung", f"The lungs {number} are clear."),
                (volume_name, "heart", "The heart is one."),
            ]
        table(root / f"{name}_region_report.csv", ["Volumename", "Anatomy", "Sentence"], rows)


def _volumes(root: Path) -> None:
    for name, split, count in (("train", "train", 3), ("validation", "valid", 2)):
        names = [f"{split}_{number}_a_1.nii.gz" for number in range(1, count + 1)]
        rows = [(file, 1, -1024, "[0.8, 0.8]", 2.0) for file in names]
        table(
            root / f"{name}_metadata.csv",
            ["VolumeName", "RescaleSlope", "RescaleIntercept", "XYSpacing", "ZSpacing"],
            rows,
        )
        for number, file in enumerate(names, start=1):
            volume(root / split / f"{split}_{number}" / f"{split}_{number}_a" / file, seed=number)
