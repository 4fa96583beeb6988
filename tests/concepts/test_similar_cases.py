"""Index of similar cases: near pictures come first, files come back as they were, other readers' are not used."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from scripts.concepts.reader import ConceptReader
from scripts.concepts.seen import seen
from scripts.concepts.similar_cases import SimilarCases, closeness, load_similar_cases
from scripts.concepts.similar_index import build_similar_cases, case_source
from scripts.concepts.vocabulary import ConceptVocabulary
from scripts.encoders.efficientnet import EfficientNetEncoder
from scripts.encoders.pooled import PooledEncoders
from scripts.errors import InputError, WeightsError

CAPTIONS = [
    "Axial CT of the head showing meningioma.",
    "PA plain-film X-ray of the chest with no abnormality.",
    "Sagittal T2-weighted MRI of the spine.",
]


@pytest.fixture(scope="module")
def encoder() -> PooledEncoders:
    torch.manual_seed(0)
    return PooledEncoders([EfficientNetEncoder(weights=None, input_size=32).eval()])


def index(count: int = 30, **options: object) -> tuple[SimilarCases, torch.Tensor]:
    tokens = torch.randn(count, 12, generator=torch.Generator().manual_seed(1)) * torch.linspace(1, 50, 12)
    captions = [CAPTIONS[number % 3] for number in range(count)]
    return SimilarCases.from_tokens(tokens, captions, [f"case {n}" for n in range(count)], **options), tokens


def test_features_are_whitened_and_the_same_picture_is_at_distance_zero() -> None:
    cases, tokens = index(4000, width=12)
    spread = ((tokens - cases.centre) @ cases.axes).std(dim=0)
    assert torch.allclose(spread, torch.ones(12), atol=0.02)
    found = cases.nearest(tokens[7:9], 3)
    assert [[case.source for case in row][0] for row in found] == ["case 7", "case 8"]
    assert all(row[0].distance < 1e-5 < row[1].distance <= row[2].distance for row in found)
    cosine = torch.nn.functional.cosine_similarity(
        cases.features[7], cases.features[int(found[0][1].source[5:])], dim=0
    )
    assert found[0][1].distance == pytest.approx(1 - float(cosine), abs=1e-5)


def test_a_case_is_told_by_its_caption_or_by_what_it_says() -> None:
    cases, tokens = index()
    kept, _ = index(keep_captions=False)
    assert [cases.nearest(tokens[n : n + 1], 1)[0][0].text for n in range(3)] == CAPTIONS
    told = [kept.nearest(tokens[n : n + 1], 1)[0][0] for n in range(3)]
    assert [case.text for case in told] == [
        "axial CT, head: meningioma", "PA plain-film X-ray, chest: no abnormality", "sagittal T2-weighted MRI, spine",
    ]  # fmt: skip
    assert told[0].told() == {"text": told[0].text, "finding": "meningioma", "distance": 0.0, "source": "case 0"}
    assert told[2].finding is None


def test_a_file_comes_back_and_one_without_captions_holds_none(encoder: PooledEncoders, tmp_path: Path) -> None:
    for keep in (True, False):
        cases, tokens = index(keep_captions=keep, reader=encoder.fingerprint())
        path = cases.save(tmp_path / f"{keep}.safetensors")
        again = load_similar_cases(path, encoder)
        pairs = zip(cases.nearest(tokens, 4), again.nearest(tokens, 4), strict=True)
        for before, after in ((b, a) for row in pairs for b, a in zip(*row, strict=True)):
            assert (before.source, before.text) == (after.source, after.text)
            assert after.distance == pytest.approx(before.distance, abs=5e-3)  # features are kept in half precision
        assert (CAPTIONS[0].encode() in path.read_bytes()) is keep
    assert load_similar_cases("", encoder) is None


def test_an_index_of_another_reader_is_not_used_and_damage_is_named(encoder: PooledEncoders, tmp_path: Path) -> None:
    path = index(reader="another")[0].save(tmp_path / "similar.safetensors")
    with pytest.warns(UserWarning, match="another concept reader"):
        assert load_similar_cases(path, encoder) is None
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged"):
        load_similar_cases(path, encoder)
    path.write_text("no index")
    with pytest.raises(WeightsError, match="similar"):
        load_similar_cases(path, encoder)
    with pytest.raises(WeightsError, match="no index of similar cases"):
        load_similar_cases(tmp_path / "absent.safetensors", encoder)


def test_cases_that_are_added_are_found_too() -> None:
    cases, _ = index()
    more = torch.full((1, 12), 200.0)
    whole = cases.with_cases(more, ["CT of the abdomen showing a cyst."], ["new"])
    assert len(whole) == 31 and whole.nearest(more, 1)[0][0].text == "CT of the abdomen showing a cyst."


def test_near_cases_weigh_in_on_what_the_reader_sees(encoder: PooledEncoders) -> None:
    images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    tokens = encoder(images)
    cases = SimilarCases.from_tokens(tokens[:, 0], (CAPTIONS * 2), [str(n) for n in range(6)])
    fields = {"plane": ["axial", "pa", "sagittal"], "modality": ["ct", "mri"], "organ": ["chest", "head", "spine"]}
    vocabulary = ConceptVocabulary(["x"], shares=torch.ones(1) / 2, longest=1, fields=fields)
    alone, asked = (ConceptReader(vocabulary, encoder, cases=cases, case_weight=weight) for weight in (0.0, 2.0))
    before, after = (reader.guide(tokens, decode=list, starts=[""] * 6, weight=1.0) for reader in (alone, asked))
    near = cases.nearest(tokens[:1, 0], 10)[0]
    plain = alone(tokens)[1]["organ"][0].double()
    told = torch.zeros_like(plain)
    for case in near:
        told[vocabulary.fields["organ"].index(case.organ)] += max(0.0, math.log(0.4 / max(case.distance, 0.03)))
    assert told.count_nonzero() >= 1  # its own picture is in the index
    expected = (plain + 2 * told).log_softmax(0)
    found = [guide.support(0, "MRI of the chest") - guide.support(0, "MRI of the head") for guide in (before, after)]
    assert found[0] == pytest.approx(float(plain[0] - plain[1]), abs=1e-4)
    assert found[1] == pytest.approx(float(expected[0] - expected[1]), abs=1e-4)
    one, other = (reader.seen(tokens, CAPTIONS * 2) for reader in (alone, asked))
    assert one == other  # how sure a caption is has the cases as evidence of their own
    assert math.log(0.4 / 0.03) == pytest.approx(closeness(0.0)) and closeness(0.4) == closeness(1.0) == 0.0


def test_an_index_is_built_from_pictures_of_one_or_several_views(encoder: PooledEncoders) -> None:
    vocabulary = ConceptVocabulary.from_captions(CAPTIONS * 4, min_count=1)
    reader = ConceptReader(vocabulary, encoder)
    images = [torch.rand(3, 32, 32), torch.rand(2, 3, 32, 32), torch.rand(3, 32, 32)]
    items = [{"image": n, "caption": caption, "source": "S", "source_id": str(n)} for n, caption in enumerate(CAPTIONS)]
    cases = build_similar_cases(reader, items, lambda image: images[image])
    assert cases.sources == ["S 0", "S 1", "S 2"] and cases.reader == encoder.fingerprint()
    reader.cases = cases
    tokens = encoder(images[1]).mean(dim=0, keepdim=True)
    assert reader.similar(tokens, count=1)[0][0].text == CAPTIONS[1]
    with pytest.raises(InputError, match="two cases or more"):
        build_similar_cases(reader, items[:1], lambda image: images[image])
    assert case_source({"image": "/data/set/a/b.png"}, "/data/set") == "a/b.png"


def test_what_the_reader_sees_sums_a_family() -> None:
    vocabulary = ConceptVocabulary(["x"], shares=torch.ones(1), longest=1, fields={
        "plane": ["axial", "coronal"], "modality": ["ct", "mri", "t2-weighted mri"], "organ": ["chest", "head"],
    })  # fmt: skip
    fields = {"plane": [[0.9, 0.1]], "modality": [[0.2, 0.5, 0.3]], "organ": [[0.25, 0.75]]}
    read = {name: torch.tensor(values).log() for name, values in fields.items()}
    assert seen(read, vocabulary, ["Axial T2-weighted MRI of the head."]) == pytest.approx([0.9 * 0.8 * 0.75], rel=1e-4)
    assert seen(read, vocabulary, ["MRI of the spine."]) == pytest.approx([0.1 * 0.8 * 0.25], rel=1e-2)  # none it knows
