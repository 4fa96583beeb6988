"""Captions with an archive: the image itself is never among its own similar cases, another of the same patient is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from scripts.commands.samples import write_samples
from scripts.concepts.similar_cases import SimilarCases
from scripts.studies.with_archive import Archive, main


def test_an_image_is_no_similar_case_of_itself() -> None:
    tokens = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    cases = SimilarCases.from_tokens(tokens[:15], ["Axial CT of the head."] * 15, [f"case {n}" for n in range(15)])
    archive = Archive(cases, tokens[15:], [{"caption": "PA X-ray of the chest."}] * 5)
    for number in range(5):
        asked = tokens[15 + number : 16 + number]
        own = archive.cases.nearest(asked, 1)[0][0]
        found = archive.without(number).nearest(asked, 10)[0]
        assert own.distance < 1e-5 and len(found) == 10
        assert own.source not in [case.source for case in found] and found[0].distance > 1e-3


def test_a_caption_says_what_the_archive_says_of_the_same_picture(tmp_path: Path) -> None:
    picture = write_samples(tmp_path)[0]
    entries = [{"image": str(picture), "caption": f"Axial CT of the head showing {one}."} for one in ("gout", "scurvy")]
    (tmp_path / "datalist.json").write_text(json.dumps({"validation": entries}))
    output = tmp_path / "out" / "captions.jsonl"
    assert main(["--datalist", str(tmp_path / "datalist.json"), "--output", str(output)]) == 0
    lines = [json.loads(text) for text in output.read_text().splitlines()]
    assert [line["caption"].rpartition(" ")[2] for line in lines] == ["scurvy.", "gout."]
    assert all(line["similar"][0]["distance"] < 0.01 for line in lines)


def test_a_section_without_captions_is_refused(tmp_path: Path) -> None:
    entries = [{"image": str(write_samples(tmp_path)[0])}]
    (tmp_path / "datalist.json").write_text(json.dumps({"validation": entries}))
    with pytest.raises(ValueError, match="archive"):
        main(["--datalist", str(tmp_path / "datalist.json")])
