"""The choice among finished captions, with a composer that only notes what it is asked for."""

from __future__ import annotations

import pytest
import torch

from scripts.concepts.stated import Stated
from scripts.generation import Generated
from scripts.networks.agreeing import agreeing
from scripts.networks.prompts import Prompt


class Noted:
    """Stands for :class:`Composer`: rows that are composed get the token 99."""

    def __init__(self, wanted: int) -> None:
        self.wanted = self.rows = wanted

    def put(self, chosen: Generated, row: int) -> None:
        chosen.token_ids[row] = 99


def chosen(texts: list[str], stated: Stated, *, wanted: int = 1, given: str = "") -> tuple[list[int], list[bool]]:
    """Places of the captions that are chosen of one image (99 for a composed one), and which are composed."""
    rows = torch.arange(len(texts))
    made = Generated(rows[:, None].clone(), -rows[:, None].float(), torch.ones(len(texts)).long(), -rows.float())
    found = agreeing(made, texts, [stated], [Prompt(given)], Noted(wanted))
    return found.token_ids[:, 0].tolist(), found.composed.tolist()


CT = Stated("CT", "axial")


@pytest.mark.parametrize(
    ("texts", "options", "expected"),
    [
        (["Axial MRI.", "Axial CT.", "Axial CT of the head."], {}, ([1], [False])),
        (["Axial CT.", "Axial MRI.", "Transverse CT."], {"wanted": 2}, ([0, 2], [False, False])),
        (["Axial MRI.", "Axial CT.", "CT."], {"wanted": 2}, ([1, 99], [False, True])),
        (["Axial MRI.", "Axial image.", "CT."], {}, ([99], [True])),
        (["a fracture on MRI", "a fracture"], {"given": "There is"}, ([1], [False])),
        (["MRI of the head", "MRI of the neck"], {"given": "MRI"}, ([0], [False])),  # given against the file: believed
    ],
)
def test_the_best_captions_that_agree_are_chosen(texts: list[str], options: dict, expected: tuple) -> None:
    assert chosen(texts, CT, **options) == expected


def test_where_nothing_is_stated_the_best_stay() -> None:
    assert chosen(["Axial MRI.", "Axial CT."], Stated()) == ([0], [False])
