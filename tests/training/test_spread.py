"""The spread of images, queries and texts against its formulas; what is all alike is said in a sentence."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from scripts.training import VectorSpread


def validated(queries: Tensor, texts: Tensor, batch: int = 3) -> dict[str, float]:
    """Metrics of an evaluator that got the cases in batches."""
    engine = SimpleNamespace(state=SimpleNamespace(metrics={}))
    handler = VectorSpread()
    handler._begin(engine)
    for start in range(0, len(queries), batch):
        rows = slice(start, start + batch)
        scored = {
            "general_queries": queries[rows],
            "general_texts": texts[rows],
            "general_temperature": torch.tensor(0.07),
        }
        engine.state.output = {"pred": scored | {"loss": torch.tensor(1.0)}}
        handler._collect(engine)
    handler._measure(engine)
    return engine.state.metrics


def test_formulas() -> None:
    z, t = torch.randn(7, 4, 5) + 0.5, F.normalize(torch.randn(7, 6), dim=-1)
    found = validated(z, t)
    energy = z.square().sum()
    cosines = (t @ t.T)[~torch.eye(7, dtype=torch.bool)]
    assert found["general_images_spread"] == pytest.approx(float((z - z.mean(0)).square().sum() / energy), rel=1e-5)
    assert found["general_queries_spread"] == pytest.approx(
        float((z - z.mean(1, keepdim=True)).square().sum() / energy), rel=1e-5
    )
    assert found["general_text_cosine"] == pytest.approx(float(cosines.mean()), abs=1e-6)
    assert found["general_temperature"] == pytest.approx(0.07)


def test_all_alike_is_said(caplog: pytest.LogCaptureFixture) -> None:
    queries, texts = torch.randn(1, 4, 5).expand(6, -1, -1), F.normalize(torch.randn(1, 8), dim=-1).expand(6, -1)
    with caplog.at_level(logging.WARNING):
        found = validated(queries, texts)
    assert found["general_images_spread"] == pytest.approx(0, abs=1e-6)
    assert found["general_text_cosine"] == pytest.approx(1, abs=1e-6)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2 and "captions look alike" in said[0] and "images look alike" in said[1]
    assert all("general" in sentence and "qformer_start" in said[0] for sentence in said)


def test_a_healthy_run_is_not_warned_and_one_case_asks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        validated(torch.randn(6, 4, 5), F.normalize(torch.randn(6, 8), dim=-1))
        alone = validated(torch.randn(1, 4, 5), F.normalize(torch.randn(1, 8), dim=-1))
    assert not caplog.records
    assert "general_text_cosine" not in alone and "general_queries_spread" in alone
