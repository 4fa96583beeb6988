"""Batches: what is stacked, padded and masked."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from scripts.data import collate_cases


def test_single_views_are_stacked_as_plain_tensors() -> None:
    images = torch.rand(2, 3, 4, 5)
    batch = collate_cases([{"image": MetaTensor(image), "caption": str(i)} for i, image in enumerate(images)])
    assert type(batch["image"]) is torch.Tensor
    assert torch.equal(batch["image"], images)
    assert batch["caption"] == ["0", "1"]
    assert "image_mask" not in batch


def test_several_views_are_padded_and_masked() -> None:
    one, three = torch.rand(3, 4, 4), torch.rand(3, 3, 4, 4)
    batch = collate_cases([{"image": one}, {"image": three}])
    assert batch["image"].shape == (2, 3, 3, 4, 4)
    assert torch.equal(batch["image"][0, 0], one)
    assert torch.equal(batch["image"][1], three)
    assert not batch["image"][0, 1:].any()
    assert batch["image_mask"].tolist() == [[True, False, False], [True, True, True]]


def test_tokens_of_equal_and_different_length() -> None:
    same = collate_cases([{"general_tokens": torch.ones(5, 2)}, {"general_tokens": torch.zeros(5, 2)}])
    assert same["general_tokens"].shape == (2, 5, 2)
    assert "general_tokens_mask" not in same
    ragged = collate_cases([{"detail_tokens": torch.ones(5, 2)}, {"detail_tokens": torch.ones(3, 2)}])
    assert ragged["detail_tokens"].sum().item() == 16
    assert ragged["detail_tokens_mask"].sum(dim=1).tolist() == [5, 3]
    assert ragged["detail_tokens_mask"].dtype == torch.bool


def test_text_is_padded_right_with_a_mask() -> None:
    cases = [{"input_ids": torch.tensor([5, 6, 7])}, {"input_ids": torch.tensor([4])}]
    batch = collate_cases(cases)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [4, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    given = collate_cases([{**case, "attention_mask": [1] * len(case["input_ids"])} for case in cases])
    assert given["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_a_tensor_in_some_cases_only_is_an_error_and_metadata_is_not() -> None:
    for key, value in (("image", torch.zeros(3, 2, 2)), ("input_ids", [1]), ("general_tokens", torch.zeros(2, 2))):
        for cases in ([{key: value}, {"caption": "a"}], [{"caption": "a"}, {key: value}]):
            with pytest.raises(ValueError, match=f"'{key}' is in some cases"):
                collate_cases(cases)
    assert collate_cases([{"caption": "a"}, {"fields": {"plane": "axial"}}]) == {
        "caption": ["a", None],
        "fields": [None, {"plane": "axial"}],
    }
    with pytest.raises(ValueError, match="at least one"):
        collate_cases([])
