"""The report's sections on confidence and on faithful maps: figures, curves, and other files refused."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.errors import InputError
from scripts.metrics.report.content import Chart, Table
from scripts.metrics.report.trust import confidence_section, faithfulness_section
from scripts.studies.calibration_figures import measure
from scripts.studies.faithfulness_table import table


def study() -> dict:
    random = np.random.default_rng(0)
    logprobs = -random.gamma(2.0, 0.4, 60)
    right = (random.random(60) < np.exp(logprobs)).astype(float)
    return measure([{"token_logprobs": [value]} for value in logprobs], right)


def test_confidence_is_told_in_two_curves_and_a_table() -> None:
    made = study()
    section = confidence_section(made)
    reliability, risk, figures = section.parts
    assert isinstance(reliability, Chart) and isinstance(risk, Chart) and isinstance(figures, Table)
    assert "Risk and coverage" in risk.svg and "<polyline" in risk.svg and reliability.svg.count("<polyline") == 3
    told = dict(figures.rows)
    assert told["expected calibration error, token probabilities"] == f"{made['expected_calibration_error_before']:.3f}"
    assert told["share wrong among the surest 50 %"] == f"{made['risk_at_50%_coverage']:.3f}"
    assert "60 images" in section.lead


def test_faithfulness_is_told_with_its_interval_whatever_it_is() -> None:
    word = {"word": "head", "kind": "organ", "logprob": -0.1, "highlighted": 2}
    images = [{"words": [{**word, "falls": [0.1, 0.0, 0.5 + 0.1 * i, 0.2]}]} for i in range(8)]
    summary = {"images": 8, "tiles": 4, "methods": {"gradient": table(images)}}
    assert "over images, as if independent" in faithfulness_section(summary).lead
    assert "over groups of images" in faithfulness_section({**summary, "unit": "group"}).lead
    (shown,) = faithfulness_section(summary).parts
    row = next(row for row in shown.rows if row[1] == "organ")
    assert row[0] == "gradient" and row[-1] == "100%"
    assert row[5].startswith("+0.750 [") and row[3] == "0.850" and row[4] == "0.100"


def test_other_files_are_refused() -> None:
    with pytest.raises(InputError, match="confidence.json"):
        confidence_section({"systems": {}})
    with pytest.raises(InputError, match="faithfulness.json"):
        faithfulness_section({"images": 3})
