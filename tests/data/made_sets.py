"""Made trees of public data sets: their exact names and columns, a few made images each."""
# ruff: noqa: E501 (rows of tables stand on one line)

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from made_chest_sets import (
    chexpert_plus,
    ct_rate,
    iu_kaggle,
    iu_openi,
    mimic,
    mimic_reports,
    padchest,
    padchest_gr,
    r2gen,
    radgenome,
)
from made_question_sets import slake, vqa_med_2019, vqa_med_2019_categories, vqa_rad
from made_tables import WORDS, as_json, json_lines, picture, plain, table, volume
from PIL import Image

__all__ = [
    "SETS",
    "WORDS",
    "as_json",
    "chexpert_plus",
    "ct_rate",
    "iu_kaggle",
    "iu_openi",
    "json_lines",
    "mimic",
    "mimic_reports",
    "padchest",
    "padchest_gr",
    "picture",
    "plain",
    "r2gen",
    "radgenome",
    "slake",
    "table",
    "volume",
    "vqa_med_2019",
    "vqa_med_2019_categories",
    "vqa_rad",
]


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
