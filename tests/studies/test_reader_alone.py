"""The concept reader's own captions: sentences whose fields are read back as they were meant."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.concepts.fields import read_fields
from scripts.concepts.reader import load_concept_reader
from scripts.studies.reader_alone import DEFAULT_READER, main, sentence


def test_every_value_of_the_shipped_reader_is_read_back_from_its_sentence() -> None:
    fields = load_concept_reader(DEFAULT_READER).vocabulary.fields
    plain = {"plane": "axial", "modality": "ct", "organ": "chest"}
    for name, values in fields.items():
        for value in values:
            if (name, value) == ("plane", "3d reconstruction"):
                continue  # captions put it elsewhere in the sentence
            assert getattr(read_fields(sentence(plain | {name: value})), name) == value, (name, value)


def test_a_section_is_captioned(tmp_path: Path) -> None:
    Image.fromarray(np.arange(96 * 96, dtype=np.uint8).reshape(96, 96)).save(tmp_path / "a.png")
    entry = {"image": "a.png", "caption": "Axial CT of the head."}
    (tmp_path / "datalist.json").write_text(json.dumps({"validation": [entry]}))
    output = tmp_path / "out" / "captions.jsonl"
    assert main(["--datalist", str(tmp_path / "datalist.json"), "--output", str(output)]) == 0
    (line,) = [json.loads(text) for text in output.read_text().splitlines()]
    assert Path(line["image"]).name == "a.png"
    found = read_fields(line["caption"])
    assert found.plane and found.modality and found.organ and not found.abnormality


def test_an_empty_section_is_refused(tmp_path: Path) -> None:
    (tmp_path / "datalist.json").write_text(json.dumps({"validation": []}))
    with pytest.raises(ValueError, match="validation"):
        main(["--datalist", str(tmp_path / "datalist.json")])
