"""What a client sees of a training while it runs."""

from __future__ import annotations

import sys

import pytest
from lib.training_run import follow, progress_of


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("train 2/5:  40%|████      | 12/30 [00:10<00:15,  1.2batch/s, loss=1.2]", "epoch 2/5, batch 12/30"),
        ("train:   0%|          | 0/3 [00:00<?, ?batch/s]", "epoch 1/1, batch 0/3"),
        ("encoding detail:  50%|#####     | 3/6 [00:10<00:10]", "encoding detail 3/6"),
        ("2026-01-01 - root - WARNING - 3/6 are dark", None),
        ("ValueError: 50%", None),
    ],
)
def test_a_bar_becomes_a_plain_line(line: str, says: str | None) -> None:
    assert progress_of(line) == says


def test_progress_is_passed_on_once_and_the_rest_is_kept_for_a_failure(capfd: pytest.CaptureFixture[str]) -> None:
    code = (
        "import sys; w = sys.stderr.write\n"
        "w('train 1/2:   0%|   | 0/4\\rtrain 1/2:   0%|   | 0/4\\rtrain 1/2: 100%|###| 4/4\\n')\n"
        "w('InputError: no words are left\\n'); sys.exit(3)"
    )
    assert follow([sys.executable, "-c", code]) == (3, ["InputError: no words are left"])
    assert capfd.readouterr().out == "epoch 1/2, batch 0/4\nepoch 1/2, batch 4/4\n"
