"""BERTScore equals the bert-score package on a small random model; batches and order change nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from caption_pairs import FIVE, generated

from scripts.errors import InputError
from scripts.metrics.bertscore import PUBLISHED_LAYERS, BertScorer, published_layer
from scripts.metrics.evaluate_files import main
from scripts.metrics.spice import read_scores, why_no_spice

PAIRS = [*FIVE, *generated(75, seed=2)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with random weights and a vocabulary of letters and the words of the pairs."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    path = tmp_path_factory.mktemp("bert")
    words = sorted({w.strip(".,;:()\"'").lower() for c, r in PAIRS for text in (c, *r) for w in text.split()})
    letters = [chr(i) for i in range(33, 127) if not chr(i).isupper()]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters), *words]
    places = {word: i for i, word in enumerate(dict.fromkeys(vocabulary))}
    tokenizer = BertTokenizerFast(vocab=places, model_max_length=128)
    assert tokenizer.unk_token_id not in tokenizer("a mass")["input_ids"]
    tokenizer.save_pretrained(path)
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64
    )
    BertModel(config).save_pretrained(path)
    return path


@pytest.mark.parametrize("idf", [False, True])
def test_equals_the_package(folder: Path, idf: bool) -> None:
    package = pytest.importorskip("bert_score", reason="bert-score is not installed")
    candidates = [c for c, _ in PAIRS]
    firsts = [r[0] for _, r in PAIRS]
    theirs = package.score(
        candidates, firsts, model_type=str(folder), num_layers=2, idf=idf, batch_size=7, device="cpu"
    )
    ours = BertScorer(folder=folder, layer=2, idf=idf).score(candidates, [[r] for r in firsts])
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.per_image, other.numpy(), atol=1e-4)


def test_a_caption_scores_the_same_alone_and_in_a_batch(folder: Path) -> None:
    scorer = BertScorer(folder=folder)
    whole = scorer.score([c for c, _ in PAIRS], [r for _, r in PAIRS])[2].per_image
    alone = [scorer.score([c], [r])[2].value for c, r in PAIRS[:6]]
    np.testing.assert_allclose(whole[:6], alone, atol=1e-5)


def test_the_best_reference_counts_and_empty_scores_zero(folder: Path) -> None:
    scorer = BertScorer(folder=folder)
    one = scorer.score(["a mass"], [["a mass"]])[2].value
    assert one == pytest.approx(1.0, abs=1e-5)
    assert scorer.score(["a mass"], [["chest", "a mass"]])[2].value == pytest.approx(1.0, abs=1e-5)
    assert scorer.score([""], [["a mass"]])[2].value == 0.0


def test_a_folder_without_a_model_is_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InputError, match="config.json is missing"):
        BertScorer(folder=tmp_path)
    with pytest.raises(InputError, match="layers 1 to 3"):
        BertScorer(folder=folder, layer=9)


CLEF = {"model_type": "deberta", "num_hidden_layers": 48, "hidden_size": 1024}


@pytest.mark.parametrize(
    ("place", "config", "layer"),
    [
        ("any", {"_name_or_path": "microsoft/deberta-xlarge-mnli"}, 40),
        ("deberta-xlarge-mnli", {}, 40),
        ("models--microsoft--deberta-xlarge-mnli/snapshots/6e9f", CLEF, 40),
        ("any", {**CLEF, "architectures": ["DebertaForSequenceClassification"]}, 40),
        ("deberta-xlarge", {**CLEF, "architectures": ["DebertaForSequenceClassification"]}, 18),
        ("any", {**CLEF, "architectures": ["DebertaModel"]}, None),
        ("any", {"model_type": "bert", "num_hidden_layers": 12}, None),
    ],
)
def test_a_known_model_has_its_published_layer(tmp_path: Path, place: str, config: dict, layer: int | None) -> None:
    folder = tmp_path / place
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    assert published_layer(folder) == layer


def test_published_layers_are_those_of_the_package() -> None:
    table = pytest.importorskip("bert_score.utils", reason="bert-score is not installed").model2layers
    names = {name: name if name in table else f"microsoft/{name}" for name in PUBLISHED_LAYERS}
    assert {name: table[full] for name, full in names.items()} == PUBLISHED_LAYERS


def test_imageclef_takes_no_layer_by_guess(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    captions = tmp_path / "captions.json"
    captions.write_text(json.dumps([{"image": "a.png", "caption": "a mass"}, {"image": "b.png", "caption": "a mass"}]))
    asked = ["--predictions", str(captions), "--references", str(captions), "--bertscore", str(folder), "--no-meteor"]
    asked += ["--resamples", "0"]
    assert main([*asked, "--protocol", "imageclef"]) == 2
    assert "give --bertscore-layer" in capsys.readouterr().err
    assert main([*asked, "--protocol", "imageclef", "--bertscore-layer", "2"]) == 0
    assert main(asked) == 0


def test_spice_says_what_it_misses_and_reads_its_program() -> None:
    reason = why_no_spice()
    assert reason is None or "SPICE needs" in reason
    answer = [{"image_id": 1, "scores": {"All": {"f": 0.25}}}, {"image_id": 0, "scores": {"All": {"f": None}}}]
    scores = read_scores(answer)
    assert np.isnan(scores[0]) and scores[1] == 0.25
