"""Images unlike those that the concept reader knows are withheld: a state of their own, with nothing generated."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from strange_pictures import KINDS, strange_pictures

from scripts.commands.samples import write_samples
from scripts.concepts.familiarity import UNFAMILIAR, fitted, load_familiarity, save_familiarity
from scripts.errors import InputError, WeightsError
from scripts.outputs.jsonl import CaptionWriter
from scripts.predictor import CaptionPredictor


@pytest.fixture(scope="module")
def predictor(bundle_root: Path) -> Iterator[CaptionPredictor]:
    yield CaptionPredictor.from_bundle(bundle_root, device="cpu", abstain_below=0.0)


def two_clouds(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Points ``[60, 8]`` and ``[40, 8]`` around two directions."""
    random = torch.Generator().manual_seed(seed)
    centres = torch.eye(8)[0] * 4, torch.eye(8)[1] * 4
    return tuple(c + torch.randn(n, 8, generator=random) for c, n in zip(centres, (60, 40), strict=True))


def test_strangeness_is_the_difference_of_two_squared_distances() -> None:
    """Against the distances themselves, by numpy."""
    medical, others = two_clouds()
    found = fitted(medical, others, ridge=0.1)
    unit = [(p / p.norm(dim=1, keepdim=True)).double().numpy() for p in (medical, others)]
    covariance = sum(np.cov(points.T) for points in unit) / 2
    covariance += 0.1 * np.trace(covariance) / 8 * np.eye(8)

    def squared(x: np.ndarray, centre: np.ndarray) -> float:
        return float((x - centre) @ np.linalg.inv(covariance) @ (x - centre))

    for points in unit:
        expected = [squared(x, unit[0].mean(0)) - squared(x, unit[1].mean(0)) for x in points]
        again = found(torch.from_numpy(points)[:, None].float() * 3)  # length does not count
        np.testing.assert_allclose(again.numpy(), expected, rtol=2e-4, atol=2e-3)
    assert found.strange(others[:, None]).float().mean() > 0.95 > 0.05 > found.strange(medical[:, None]).float().mean()


def test_a_case_is_as_strange_as_its_real_views_on_average() -> None:
    medical, others = two_clouds()
    found = fitted(medical, others)
    views = torch.stack([medical[0], others[0], others[1]])[None]
    each = [float(found(view[None, None])) for view in views[0]]
    assert float(found(views)) == pytest.approx(np.mean(each), rel=1e-5)
    assert float(found(views, torch.tensor([[True, True, False]]))) == pytest.approx(np.mean(each[:2]), rel=1e-5)


def test_the_file_belongs_to_a_concept_reader(tmp_path: Path) -> None:
    reader, other = tmp_path / "reader.safetensors", tmp_path / "other.safetensors"
    reader.write_bytes(b"one"), other.write_bytes(b"two")
    known = fitted(*two_clouds())
    known.threshold = 1.5
    path = save_familiarity(known, tmp_path / "known.safetensors", reader, {"medical": 60})
    again = load_familiarity(path, reader)
    assert again.threshold == 1.5 and torch.equal(again.direction, known.direction)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_familiarity(path, reader, anything="true") is None
        assert load_familiarity(path, "") is None and load_familiarity(tmp_path / "none", reader) is None
    with pytest.warns(UserWarning, match="another concept reader"):
        assert load_familiarity(path, other) is None
    path.write_bytes(path.read_bytes()[:-3] + b"abc")
    with pytest.raises(WeightsError, match="damaged"):
        load_familiarity(path, reader)


def withheld(predictor: CaptionPredictor, files: list[Path]) -> list[bool]:
    """Whether each image is withheld, or holds nothing that could be read."""
    return [
        isinstance(found, InputError) or found.record["withheld"] == UNFAMILIAR
        for found in predictor.caption_all(files, batch_size=16, num_beams=1, max_new_tokens=1)
    ]


def write_pictures(folder: Path, count: int) -> list[Path]:
    paths = []
    for number, (kind, picture) in enumerate(strange_pictures(count)):
        paths.append(folder / f"{number:03}_{kind}.png")
        picture.save(paths[-1])
    return paths


def test_pictures_of_every_kind_are_withheld_and_samples_are_not(predictor: CaptionPredictor, tmp_path: Path) -> None:
    assert all(withheld(predictor, write_pictures(tmp_path, 2 * len(KINDS))))
    assert not any(withheld(predictor, write_samples(tmp_path)))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_of_five_hundred_pictures_95_percent_are_withheld_and_2_of_medical_images(
    predictor: CaptionPredictor, tmp_path: Path, shared_data: Path
) -> None:
    assert np.mean(withheld(predictor, write_pictures(tmp_path, 500))) >= 0.95
    for folder, section in (("medcap-open", "validation"), ("open-extra", "training")):
        items = json.loads((shared_data / folder / "datalist.json").read_text(encoding="utf-8"))[section]
        assert np.mean(withheld(predictor, [shared_data / folder / item["image"] for item in items])) <= 0.02
    formats = [file for file in (shared_data / "formats").rglob("*") if file.suffix in (".dcm", ".nii", ".gz")]
    assert np.mean(withheld(predictor, formats)) <= 0.02


def test_a_withheld_image_is_a_state_of_its_own(predictor: CaptionPredictor, tmp_path: Path) -> None:
    """Alone and among others, explained, sampled and watched; nothing is generated, nothing is an error."""
    picture = next(file for file in write_pictures(tmp_path, 2))
    image, *_ = write_samples(tmp_path)
    alone = predictor.caption(picture, explain="gradient")
    assert (alone.text, alone.tokens, alone.token_logprobs, alone.confidence) == ("", (), (), None)
    record = alone.record
    assert record["withheld"] == UNFAMILIAR and record["abstained"] and record["error"] is None
    assert record["caption"] is None and alone.case.explanation is None
    asked = {"explain": "gradient", "max_new_tokens": 6, "prompt": "There is"}
    first, second, third = predictor.caption_all([picture, image, picture], batch_size=3, **asked)
    assert first.text == third.text == "" and second.text.startswith("There is")
    assert second.text == predictor.caption(image, **asked).text
    assert second.case.explanation is not None and second.record["withheld"] is None


def test_words_are_watched_only_of_images_that_are_captioned(predictor: CaptionPredictor, tmp_path: Path) -> None:
    files = [write_pictures(tmp_path, 1)[0], write_samples(tmp_path)[0]]
    seen: set[int] = set()
    loaded = [predictor.load(file) for file in files]
    options = predictor.options_of({"max_new_tokens": 4})
    predictor.caption_loaded(files, loaded, options=options, written=lambda texts: seen.update(texts))
    assert seen == {1}


def test_anything_captions_a_picture_too(predictor: CaptionPredictor, bundle_root: Path, tmp_path: Path) -> None:
    values = {"abstain_below": 0.0, "max_new_tokens": 4, "language_model": predictor.network.language_model}
    believing = CaptionPredictor.from_bundle(bundle_root, device="cpu", anything="true", **values)
    caption = believing.caption(write_pictures(tmp_path, 1)[0])
    assert caption.text and caption.record["withheld"] is None


def test_a_run_tells_what_it_withheld(
    predictor: CaptionPredictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = predictor.caption(write_pictures(tmp_path, 1)[0])
    writer = CaptionWriter(tmp_path / "out", outputs=["jsonl", "html", "fhir"])
    case = writer.delivery.deliver(picture.case)
    writer._count(case.record)
    writer._report(case.record)
    writer.finish(None)
    said = capsys.readouterr().out
    assert f"withheld: {UNFAMILIAR}" in said and "0 of 1 images captioned, 1 withheld" in said
    assert UNFAMILIAR in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert not list((tmp_path / "out").rglob("*.fhir*")) and writer.failed == 0


def test_pictures_are_made_from_their_numbers(tmp_path: Path) -> None:
    first, again = (list(strange_pictures(7, 70)) for _ in range(2))
    assert [kind for kind, _ in first] == list(KINDS)
    assert all(np.array_equal(np.asarray(a), np.asarray(b)) for (_, a), (_, b) in zip(first, again, strict=True))
    assert all(isinstance(picture, Image.Image) and picture.mode == "RGB" for _, picture in first)
