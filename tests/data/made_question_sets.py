"""Made trees of public data sets of questions and answers."""
# ruff: noqa: E501 (rows of tables stand on one line)

from __future__ import annotations

from pathlib import Path

from made_tables import as_json, picture, plain


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
