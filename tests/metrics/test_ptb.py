"""The Python tokeniser gives what the CoreNLP program gives, on real captions and on generated ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from caption_pairs import FIVE, generated

from scripts.metrics.ptb import coco_tokens, ptb_tokens

HARD = [
    "T2-weighted MRI, T2*-weighted gradient-echo; FLAIR/T2 w/ contrast.",
    "x-ray of the patient's chest isn't normal, can't, cannot, gonna.",
    "1,234.5 mm 10x20 mm 3×4 cm 5% $5 #3 1.5x2.5 3.5cm 2.5-3.5",
    "A mass (arrow), [1] {x} \"quoted\" 'single' “curly” ‘y’ didn’t o’donahue’s",
    "tumour – oedema — grey… a--b a---b 10⁶ cm² ½ 37°C ±3 <5 ≥3 ~2",
    "cerebral infarction, value of noncontrast ct.",
    "posterior reversible leukoencephalopathy, pres.",
    "fig. 3, no. 5; fig. a; approx. 3 cm. Left Mass. end",
    "atypical teratoid/rhabdoid tumor vs. abscess, e.g. U.S. A.V.M. mg/kg/day C5-6/7",
    "showing cyst., then mass.; http://a.b.com/x a@b.com AT&T T1+C A/P",
    "'80s 80's rock'n'roll 'tis she'd they've I'm dogs'",
    "Is it?! Yes!! a_b a__b <a> &amp; 3/4 1 1/2",
]


@pytest.fixture(scope="module")
def reference_tokenizer():
    module = pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer", reason="pycocoevalcap is not installed")
    if shutil.which("java") is None:
        pytest.skip("the CoreNLP tokeniser needs Java")

    def tokens(captions: list[str]) -> list[list[str]]:
        result = module.PTBTokenizer().tokenize({i: [{"caption": c}] for i, c in enumerate(captions)})
        return [result[i][0].split(" ") if result[i][0] else [] for i in range(len(captions))]

    return tokens


def test_equals_the_program_on_hard_captions(reference_tokenizer) -> None:
    captions = HARD + [text for candidate, references in FIVE for text in (candidate, *references)]
    assert [coco_tokens(c) for c in captions] == reference_tokenizer(captions)


def test_equals_the_program_on_generated_captions(reference_tokenizer) -> None:
    captions = [text for candidate, references in generated(1000) for text in (candidate, *references)]
    assert [coco_tokens(c) for c in captions] == reference_tokenizer(captions)


def test_equals_the_program_on_real_captions(reference_tokenizer, shared_data: Path) -> None:
    datalist = json.loads((shared_data / "medcap-open" / "datalist.json").read_text())
    captions = sorted({item["caption"] for split in ("training", "validation") for item in datalist[split]})
    assert [coco_tokens(c) for c in captions] == reference_tokenizer(captions)


def test_known_tokens_without_java() -> None:
    assert ptb_tokens("A 3.5 cm mass (arrow).") == ["a", "3.5", "cm", "mass", "-lrb-", "arrow", "-rrb-", "."]
    assert coco_tokens("The patient's T2-weighted MRI isn't normal: 5%.") == [
        "the", "patient", "'s", "t2-weighted", "mri", "is", "n't", "normal", "5", "%"
    ]  # fmt: skip
    assert coco_tokens("") == [] == coco_tokens(" . , ")
