"""Caption pairs for tests: five written by hand and any number generated from a small radiology vocabulary."""

from __future__ import annotations

import random

FIVE = [
    ("Axial CT of the chest showing a nodule in the right upper lobe.",
     ["Axial contrast-enhanced CT of the chest shows a 12 mm nodule (arrow) in the right upper lobe."]),
    ("Sagittal T2-weighted MRI of the spine with disc herniation at L4/L5.",
     ["Sagittal T2-weighted MRI of the lumbar spine shows disc herniation at L4-L5."]),
    ("PA chest X-ray, no pneumothorax.", ["Chest X-ray: there is no pneumothorax or pleural effusion."]),
    ("Ultrasound of the patient's liver.",
     ["Abdominal ultrasound shows multiple gallstones.", "Ultrasound of the patient's gallbladder isn't normal."]),
    ("A mass.", ["Coronal FLAIR MRI of the head demonstrates a 3.5 cm mass, e.g. meningioma vs. metastasis."]),
]  # fmt: skip

_PLANES = ["Axial", "Sagittal", "Coronal", "PA", "Lateral", "3D-reconstructed"]
_MODALITIES = ["CT", "T2-weighted MRI", "FLAIR MRI", "X-ray", "CT with IV contrast", "T2*-weighted gradient-echo MRI"]
_ORGANS = ["head (skull and contents)", "chest", "spine", "patient's left knee", "face, sinuses and neck"]
_FINDINGS = ["pineoblastoma", "a 3.5 x 2 cm mass (arrow)", "no abnormality", "atypical teratoid/rhabdoid tumor",
             "disc herniation at L4/L5, s/p surgery", "acute appendicitis vs. abscess", "Crohn's disease; isn't active",
             '"target" sign, e.g. in TB', "neurofibromatosis type 1", "10% pneumothorax - small"]  # fmt: skip


def generated(count: int, seed: int = 0) -> list[tuple[str, list[str]]]:
    """`count` pairs of a candidate and one to three references that share some words with it."""
    chance = random.Random(seed)

    def caption(plane: str, organ: str) -> str:
        words = f"{plane} {chance.choice(_MODALITIES)} of the {organ} showing {chance.choice(_FINDINGS)}."
        return words if chance.random() < 0.8 else " ".join(chance.sample(words.split(), k=len(words.split())))

    pairs = []
    for _ in range(count):
        plane, organ = chance.choice(_PLANES), chance.choice(_ORGANS)
        references = [caption(plane, chance.choice([organ, *_ORGANS])) for _ in range(chance.choice([1, 1, 2, 3]))]
        pairs.append((caption(plane, organ) if chance.random() < 0.97 else plane, references))
    return pairs
