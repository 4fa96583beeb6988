"""Made trees of public data sets: their exact names and columns, a few made images each."""
# ruff: noqa: E501 (rows of tables stand on one line)

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WORDS = "ct of the chest showing one nodule in the head"


def picture(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = seed or zlib.crc32(path.name.encode())
    grey = np.random.default_rng(seed).integers(0, 255, (40, 36), dtype=np.uint8)
    Image.fromarray(grey).save(path)


def volume(path: Path, seed: int = 0) -> None:
    """Stored values of a CT: HU + 1024, which no header says."""
    import nibabel as nib

    path.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed + 1)
    hu = np.full((40, 36, 12), -1000.0)
    hu[8:32, 8:28] = draw.normal(40, 20, (24, 20, 12))
    image = nib.Nifti1Image((hu + 1024).astype(np.int16), np.diag([0.8, 0.8, 2.0, 1.0]))
    nib.save(image, path)


def table(path: Path, columns: Sequence[str] | None, rows: Sequence[Sequence[Any]], separator: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator)
    writer.writerows(([columns] if columns else []) + [list(row) for row in rows])
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def plain(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def as_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def json_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    plain(path, [json.dumps(row) for row in rows])


def roco(root: Path) -> None:
    for split, start in (("train", 10), ("validation", 20), ("test", 30)):
        here = root / "data" / split / "radiology"
        ids = [f"ROCO_{number:05d}" for number in range(start, start + 4)]
        plain(here / "captions.txt", [f'{name}\t {WORDS}, "{name[-1]}"' for name in ids])
        rows = [
            (name, f"PMC{name[-5:]}_CRIONM-{name[-1]}.jpg", "CC BY" if n else "CC BY-NC") for n, name in enumerate(ids)
        ]
        table(here / "licences.txt", ["ROCO_ID", "PMC_ID", "CC"], rows)
        for name in ids:
            picture(here / "images" / f"{name}.jpg")


def rocov2(root: Path) -> None:
    for split in ("train", "valid", "test"):
        ids = [f"ROCOv2_2023_{split}_{number:06d}" for number in range(1, 5)]
        table(root / f"{split}_captions.csv", ["ID", "Caption"], [(name, f"{WORDS}, {name[-1]}.") for name in ids])
        table(root / f"{split}_concepts.csv", ["ID", "CUIs"], [(name, "C0040405;C1306645") for name in ids])
        for name in ids:
            picture(root / split / f"{name}.jpg")


def rocov2_parquet(root: Path) -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    (root / "data").mkdir(parents=True)
    for split in ("train", "validation", "test"):
        rows = []
        for number in range(3):
            stream = io.BytesIO()
            grey = np.random.default_rng(number).integers(0, 255, (40, 36), dtype=np.uint8)
            Image.fromarray(grey).save(stream, "PNG")
            image = {"bytes": stream.getvalue(), "path": None}
            name = f"ROCOv2_2023_{split}_{number:06d}"
            rows.append({"image": image, "image_id": name, "caption": f"{WORDS} {number}.", "cui": ["C1"]})
        parquet.write_table(pyarrow.Table.from_pylist(rows), root / "data" / f"{split}-00000-of-00001.parquet")


def imageclef_2023(root: Path) -> None:
    _imageclef(
        root, "ImageCLEFmedical_Caption_2023_caption_prediction_{}_labels.csv", "ImageCLEFmedical_Caption_2023", "\t"
    )


def imageclef_2022(root: Path) -> None:
    _imageclef(root, "caption_prediction_{}.csv", "ImageCLEFmedCaption_2022", "\t")


def imageclef_2024(root: Path) -> None:
    _imageclef(root, "{}_captions.csv", "ImageCLEFmedical_Caption_2024", ",")


def _imageclef(root: Path, file: str, stem: str, separator: str) -> None:
    columns = ["ID", "caption"] if separator == "\t" else ["ID", "Caption"]
    for split in ("train", "valid"):
        ids = [f"{stem}_{split}_{number:06d}" for number in range(4)]
        table(root / file.format(split), columns, [(name, f"{WORDS}, {name[-1]}") for name in ids], separator)
        for name in ids:
            picture(root / split / f"{name}.jpg")


def medicat(root: Path) -> None:
    rows = []
    for number in range(30):
        name, figure = f"{number // 2:040x}", f"{number}-Figure1-1.png"
        licence = {
            "doi": "10.1/x",
            "oa": {"is_oa": True, "oa_status": "gold", "license": "cc-by" if number % 3 else None},
        }
        rows.append({"pdf_hash": name, "fig_key": "Figure1", "fig_uri": figure, "s2_caption": f"Figure {number}. {WORDS} {number}",
                     "s2orc_caption": None, "s2orc_references": None, "radiology": number % 5 > 0, "oa_info": licence})  # fmt: skip
        picture(root / "release" / "figures" / f"{name}_{figure}")
    json_lines(root / "release" / "s2_full_figures_oa_nonroco_combined_medical_top4_public.jsonl", rows)


def pmc_oa(root: Path) -> None:
    rows = [
        {"image": f"PMC{number // 2:06d}_Fig{number}_1.jpg", "caption": f"{WORDS} {number}"} for number in range(24)
    ]
    json_lines(root / "pmc_oa.jsonl", rows)
    for row in rows:
        picture(root / "images" / row["image"])


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


def medpix2(root: Path) -> None:
    base = root / "MedPix-2-0"
    for split, start in (("train", 0), ("dev", 5), ("test", 8)):
        rows = []
        for number in range(start, start + 4):
            image = f"MPX10{number + start:02d}_synpic{46280 + number + start}"
            about = {
                "ACR Codes": "8.-1",
                "Age": 70,
                "Caption": f"Axial CT of the chest {number}.",
                "Figure Part": None,
                "Modality": "CT - noncontrast",
                "Plane": "Axial",
                "Sex": "male",
            }
            rows.append(
                {
                    "Type": "CT",
                    "U_id": image[:7],
                    "image": image,
                    "Description": about,
                    "Location": "Bladder",
                    "Location Category": "Genitourinary",
                }
            )
            picture(base / "images" / f"{image}.png")
        json_lines(base / "splitted_dataset" / f"descriptions_{split}.jsonl", rows)


def vqa_med_2019(root: Path) -> None:
    for split, images, start in (("train", "Train_images", 100), ("val", "Val_images", 200)):
        lines = []
        for number in range(start, start + 4):
            name = f"synpic{number}"
            lines += [f"{name}|what modality is shown?|ct", f"{name}|what plane is demonstrated?|axial",
                      f"{name}|what organ system is primarily present?|chest", f"{name}|is this a normal image?|no"]  # fmt: skip
            picture(root / images / f"{name}.jpg")
        plain(root / f"All_QA_Pairs_{split}.txt", lines)
    plain(
        root / "VQAMed2019_Test_Questions_w_Ref_Answers.txt",
        ["synpic54082|modality|what modality is shown?|cta - ct angiography"],
    )
    picture(root / "VQAMed2019_Test_Images" / "synpic54082.jpg")


def vqa_med_2019_categories(root: Path) -> None:
    for split in ("train", "val", "test"):
        for number in range(3):
            picture(root / split / "images" / f"synpic{split}{number}.jpg")
        for kind, question, answer in (
            ("Modality", "what modality is shown?", "mr"),
            ("Organ", "what organ is this?", "head"),
            ("Plane", "which plane?", "axial"),
        ):
            plain(
                root / split / "QA" / f"{kind}.csv",
                [f"synpic{split}{number}|{question}|{answer}" for number in range(3)],
            )


def vqa_rad(root: Path) -> None:
    for split, start, count in (("trainset", 0, 10), ("testset", 20, 3)):
        rows = []
        for number in range(start, start + count):
            name = f"synpic{number}.jpg"
            rows.append(
                {
                    "image_name": name,
                    "qid": number,
                    "question": "What modality is used?",
                    "answer": "x-ray",
                    "answer_type": "OPEN",
                    "question_type": "MODALITY",
                }
            )
            rows.append(
                {
                    "image_name": name,
                    "qid": number,
                    "question": "In what plane was this taken?",
                    "answer": "PA",
                    "answer_type": "OPEN",
                    "question_type": "PLANE",
                }
            )
            picture(root / "images" / name)
        as_json(root / f"{split}.json", rows)


def slake(root: Path) -> None:
    for split, start in (("train", 0), ("validate", 10), ("test", 20)):
        rows = []
        for number in range(start, start + 3):
            common = {
                "img_id": number,
                "img_name": f"xmlab{number}/source.jpg",
                "modality": "CT",
                "answer_type": "OPEN",
            }
            rows.append(
                {
                    **common,
                    "qid": number,
                    "q_lang": "en",
                    "question": "What modality is used to take this image?",
                    "answer": "CT",
                    "content_type": "Modality",
                }
            )
            rows.append(
                {
                    **common,
                    "qid": number,
                    "q_lang": "en",
                    "question": "Which organ is shown?",
                    "answer": "chest",
                    "content_type": "Organ",
                }
            )
            rows.append(
                {
                    **common,
                    "qid": number,
                    "q_lang": "zh",
                    "question": "图像的成像方式是什么?",
                    "answer": "CT",
                    "content_type": "Modality",
                }
            )
            picture(root / "imgs" / f"xmlab{number}" / "source.jpg", seed=number + 1)
        as_json(root / f"{split}.json", rows)


def deepeyenet(root: Path) -> None:
    for split, folder in (("train", "train_set"), ("valid", "val_set"), ("test", "test_set")):
        entries = []
        for number in range(3):
            path = f"eyenet0420/{folder}/{split}{number}.jpg"
            entries.append({path: {"keywords": "one, two", "clinical-description": f"one head image {split} {number}"}})
            picture(root / path)
        as_json(root / f"DeepEyeNet_{split}.json", entries)


def peir_gross(root: Path) -> None:
    rows = [f'{number:08d}.jpg\tone image of the head, "{number}' for number in range(20)]
    plain(root / "peir_gross" / "peir_gross.tsv", rows)
    for number in range(20):
        picture(root / "peir_gross" / "peir_gross_images" / f"{number:08d}.jpg")


def quilt(root: Path) -> None:
    columns = ["", "caption", "image_path", "subset", "split", "pathology", "roi_text"]
    rows = [(n, f"{WORDS} {n}", f"{n}.jpg", "quilt", "train" if n < 5 else "val", "x", "y") for n in range(8)]
    table(root / "quilt_1M_lookup.csv", columns, rows)
    for number in range(8):
        picture(root / "images" / f"{number}.jpg")


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


def folder(root: Path) -> None:
    for number in range(24):
        picture(root / f"case{number // 2}" / f"{number}.png")
        plain(root / f"case{number // 2}" / f"{number}.txt", [f"{WORDS} {number}"])


SETS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "roco": ("roco", roco),
    "rocov2": ("rocov2", rocov2),
    "rocov2 parquet": ("rocov2", rocov2_parquet),
    "imageclef 2022": ("imageclef-caption", imageclef_2022),
    "imageclef 2023": ("imageclef-caption", imageclef_2023),
    "imageclef 2024": ("imageclef-caption", imageclef_2024),
    "medicat": ("medicat", medicat),
    "pmc-oa": ("pmc-oa", pmc_oa),
    "iu openi": ("iu-xray", iu_openi),
    "iu kaggle": ("iu-xray", iu_kaggle),
    "iu r2gen": ("iu-xray", r2gen),
    "r2gen": ("r2gen", r2gen),
    "mimic": ("mimic-cxr", mimic),
    "mimic reports": ("mimic-cxr", mimic_reports),
    "padchest": ("padchest", padchest),
    "padchest-gr": ("padchest-gr", padchest_gr),
    "chexpert-plus": ("chexpert-plus", chexpert_plus),
    "medpix2": ("medpix2", medpix2),
    "vqa-med": ("vqa-med-2019", vqa_med_2019),
    "vqa-med categories": ("vqa-med-2019", vqa_med_2019_categories),
    "vqa-rad": ("vqa-rad", vqa_rad),
    "slake": ("slake", slake),
    "deepeyenet": ("deepeyenet", deepeyenet),
    "peir-gross": ("peir-gross", peir_gross),
    "quilt": ("quilt-1m", quilt),
    "ct-rate": ("ct-rate", ct_rate),
    "radgenome": ("radgenome-chestct", radgenome),
    "folder": ("folder", folder),
}
"""Name of a made tree to the layout that reads it and what writes it."""
