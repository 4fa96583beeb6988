"""Looking at a datalist: what is odd is counted, the page and the picture are written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from scripts.data.look import look, survey_datalist


def test_odd_captions_duplicates_and_unreadable_images_are_found(tmp_path: Path) -> None:
    for number in range(6):
        grey = np.random.default_rng(min(number, 4)).integers(0, 255, (40, 30 + min(number, 4)), dtype=np.uint8)
        Image.fromarray(grey).save(tmp_path / f"{number}.png")
    (tmp_path / "bad.png").write_bytes(b"nothing")
    captions = ["", "mass", "XXXX-year-old with <b>mass</b>", "lésion", "one nodule", "One nodule", "word " * 201]
    training = [
        {"image": f"{n if n < 6 else 'bad'}.png", "caption": text, "modality": "CT"} for n, text in enumerate(captions)
    ]
    content = {"provenance": {"title": "Made set", "notes": ["beware"]}, "training": training}
    (tmp_path / "d.json").write_text(json.dumps(content))
    survey = survey_datalist(tmp_path / "d.json", tmp_path)
    part = survey.sections["training"]
    assert dict(part.odd) == {
        "empty": 1, "one word": 2, "marks": 1, "markup": 1, "not ASCII": 1, "repeated": 2, "long": 1,
    }  # fmt: skip
    assert [[Path(path).name for path in paths] for paths in survey.duplicates] == [["4.png", "5.png"]]
    assert len(survey.unreadable) == 1 and "bad.png" in survey.unreadable[0]
    assert survey.words["nodule"] == 2 and survey.sizes.count((34, 40)) == 2
    text = look(tmp_path / "d.json", tmp_path / "out")
    assert "opened 7: 1 cannot be read, 1 sets of equal files" in text
    page = (tmp_path / "out" / "look.html").read_text()
    assert "Made set" in page and "beware" in page and "&lt;b&gt;mass" in page and "<b>mass" not in page
    with Image.open(tmp_path / "out" / "look.png") as image:
        assert image.width > 1000
    assert json.loads((tmp_path / "out" / "look.json").read_text())["sections"]["training"]["entries"] == 7
