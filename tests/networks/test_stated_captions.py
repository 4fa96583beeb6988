"""No caption contradicts its file, however it is decoded; where none agrees, one is composed of what is stated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from stated_files import headers, write_stated_files

from scripts.concepts.mentions import families_in
from scripts.concepts.stated import stated_by
from scripts.concepts.statement_check import disagreement
from scripts.predictor import CaptionPredictor
from scripts.reading.image_meta import ImageMeta

DECODING = {
    "guided beams": {},
    "greedy": {"num_beams": 1},
    "sampling": {"num_beams": 1, "do_sample": True, "seed": 3, "temperature": 1.3},
    "sampled beams": {"num_beams": 3, "do_sample": True, "seed": 3},
    "diverse beams": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0, "num_return": 2},
    "short": {"max_new_tokens": 2},
}


@pytest.fixture(scope="module")
def predictor(starter: Callable[..., CaptionPredictor]) -> CaptionPredictor:
    return starter()


@pytest.fixture(scope="module")
def made(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_stated_files(tmp_path_factory.mktemp("stated"), shared_data)


def contradicted(predictor: CaptionPredictor, files: list[Path], **options: object) -> list[str]:
    """Captions that do not agree with what their files state."""
    found = []
    for caption in predictor.caption_all(files, batch_size=8, **options):
        stated = stated_by(ImageMeta.of_record(caption.record["trace"]["input"]))
        assert stated.families, caption.record["image"]
        why = disagreement(caption.text, stated)
        found += [f"{caption.record['image']}: {caption.text}: {why}"] if why else []
        if any(note.startswith("composed") for note in caption.record["notes"]):
            assert caption.record["tokens"][-1] == "" and "".join(caption.record["tokens"]).strip() == caption.text
    return found


@pytest.mark.parametrize("setting", DECODING)
def test_a_few_of_every_setting(predictor: CaptionPredictor, made: list[Path], setting: str) -> None:
    assert contradicted(predictor, made[3::48], **{"max_new_tokens": 16, **DECODING[setting]}) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("setting", DECODING)
def test_two_hundred_files_of_every_setting(predictor: CaptionPredictor, made: list[Path], setting: str) -> None:
    assert len(made) == len(list(headers())) > 200
    assert contradicted(predictor, made, **DECODING[setting]) == []


def test_an_enhanced_ct_is_never_called_diffusion_weighted(predictor: CaptionPredictor, shared_data: Path) -> None:
    file = shared_data / "formats" / "dicom" / "eCT_Supplemental.dcm"
    for options in DECODING.values():
        caption = predictor.caption(file, **options)
        assert families_in(caption.text) == {"CT"}, caption.text


def test_a_caption_that_is_composed_says_so(predictor: CaptionPredictor, made: list[Path]) -> None:
    """Two tokens cannot name modality and plane; words that were given stay, also against the file."""
    ct = [path for path in made if path.name.endswith("_CT.dcm")][-1]  # an axial one
    composed = predictor.caption(ct, max_new_tokens=2)
    assert composed.text.startswith("Axial CT") and "composed" in composed.record["notes"][-1]
    assert len(composed.token_logprobs) == len(composed.tokens) and max(composed.token_logprobs) <= 0
    begun = predictor.caption(ct, prompt="There is no", max_new_tokens=2)
    assert begun.text.startswith("There is no") and not begun.record["notes"]
    believed = predictor.caption(ct, prompt="MRI of the", max_new_tokens=4)
    assert believed.text.startswith("MRI of the") and "contradict" in believed.record["notes"][-1]


def test_likelihoods_of_a_composed_caption_are_the_language_model_s(predictor: CaptionPredictor) -> None:
    """The same as those of a caption that was generated."""
    network = predictor.network
    encoded = network.encode(torch.rand(1, 3, 64, 64))
    prefix = network.prefix(encoded)
    with torch.no_grad():
        made = network.generator.generate(*prefix, network.options)
        length = int(made.lengths[0])
        again = network.language_model.caption_logprobs(*prefix, made.token_ids[0, :length])
    torch.testing.assert_close(again, made.token_logprobs[0, :length], atol=2e-3, rtol=1e-3)
