"""The hub's card: huggingface_hub reads it without a network, and its results are the figures of the model card."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import hub_card  # noqa: E402

MODEL_CARD = (ROOT / "bundle" / "docs" / "README.md").read_text(encoding="utf-8")


def test_the_card_in_docs_is_the_one_that_package_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["hub_card.py", str(tmp_path / "hub")])
    assert hub_card.main() == 0
    written = (tmp_path / "hub" / "README.md").read_text(encoding="utf-8")
    page = ROOT / "docs" / "hub_card.md"
    assert page.read_text(encoding="utf-8") == written, "make package && cp dist/hub/README.md docs/hub_card.md"
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\npackage:")[2].partition("\n\n")[0]
    assert "tools/hub_card.py dist/hub" in recipe
    data = yaml.safe_load(written.split("---")[1])
    for widget in data["widget"]:
        with Image.open(tmp_path / "hub" / widget["src"]) as picture:
            assert picture.size == (512, 512) and picture.getextrema()[1] > picture.getextrema()[0]


def test_huggingface_hub_reads_the_card_and_its_results() -> None:
    card = ModelCard(str(hub_card.card(MODEL_CARD)), ignore_metadata_errors=False)
    assert card.data.library_name == "monai" and card.data.pipeline_tag == "image-to-text"
    assert card.data.license == "apache-2.0" and card.data.language == "en" and "widget" in card.data
    name, results = model_index_to_eval_results(yaml.safe_load(card.content.split("---")[1])["model-index"])
    assert name == "MSMedCap starter" and results == card.data.eval_results
    for result in results:
        row = re.search(rf"^\| {re.escape(result.metric_name)} \| ([\d.]+)", MODEL_CARD, re.MULTILINE)
        assert float(row[1]) == result.metric_value, result.metric_name
    assert {result.metric_type for result in results} >= {"bleu", "meteor", "rouge", "cider", "accuracy"}
    assert "not for diagnosis" in card.text and 'from_bundle("OWNER/NAME")' in card.text


def test_a_table_without_a_row_is_said() -> None:
    with pytest.raises(ValueError, match="no row 'organ'"):
        hub_card.results(MODEL_CARD.replace("| organ |", "| part |"))
