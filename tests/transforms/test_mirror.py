"""A mirrored image has a mirrored caption."""

from __future__ import annotations

import pytest
import torch

from scripts.transforms.mirror import RandMirrord, mirrored


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("Left lung and right kidney.", "Right lung and left kidney."),
        ("LEFT-sided mass of the leftmost lobe", "RIGHT-sided mass of the leftmost lobe"),
        ("a bright spot, copyright", "a bright spot, copyright"),
        ("left, left and right", "right, right and left"),
    ],
)
def test_sides_are_exchanged_and_nothing_else(caption: str, expected: str) -> None:
    assert mirrored(caption) == expected
    assert mirrored(expected) == caption


def test_image_and_caption_are_mirrored_together_or_not_at_all() -> None:
    image = torch.arange(12.0).view(1, 3, 4)
    case = {"image": image, "caption": "left lung", "other": 1}
    always, never = (RandMirrord("image", prob=p)(case) for p in (1.0, 0.0))
    assert torch.equal(always["image"], image.flip(2)) and always["caption"] == "right lung" and always["other"] == 1
    assert torch.equal(never["image"], image) and never["caption"] == "left lung"
    assert case["caption"] == "left lung"
    often = RandMirrord("image", prob=0.5).set_random_state(seed=0)
    done = [often(case) for _ in range(40)]
    assert {one["caption"] for one in done} == {"left lung", "right lung"}
    assert all((one["caption"] == "right lung") == (not torch.equal(one["image"], image)) for one in done)
