"""Values as people type them: the text "false" is not true, numbers are numbers, and mistakes get a sentence."""

from __future__ import annotations

import pytest

from scripts.errors import InputError
from scripts.explanation.word_maps import METHODS
from scripts.generation import GenerationOptions
from scripts.given_values import switch, typed_settings
from scripts.outputs import EXPLANATIONS, check_requested


def test_switches() -> None:
    assert [switch(value) for value in ("true", "False", "gradient", True, 0, None)] == [
        True, False, "gradient", True, 0, None,
    ]  # fmt: skip


def test_settings_are_read_as_json_and_else_as_text() -> None:
    items = ["num_beams=1", "weights=runs/a=b.pt", "window=40/400", "explain=True", "outputs=[1]", "prompt="]
    assert typed_settings(items) == {
        "num_beams": 1, "weights": "runs/a=b.pt", "window": "40/400", "explain": True, "outputs": [1], "prompt": "",
    }  # fmt: skip
    for wrong in ("num_beams", "=1"):
        with pytest.raises(InputError, match="KEY=VALUE"):
            typed_settings([wrong])


def test_options_take_the_text_of_a_switch() -> None:
    options = GenerationOptions(num_beams=2, no_repeated_words="false", do_sample="false", early_stopping="true")
    assert (options.no_repeated_words, options.do_sample, options.early_stopping) == (False, False, True)
    assert GenerationOptions(early_stopping="never").early_stopping == "never"
    with pytest.raises(InputError, match="no_repeated_words is 'no'"):
        GenerationOptions(no_repeated_words="no")


def test_an_explanation_may_be_asked_for_in_lower_case() -> None:
    check_requested(["jsonl", "overlay"], "true")
    with pytest.raises(InputError, match="set explain to true"):
        check_requested(["overlay"], "false")


def test_every_method_of_explanation_may_be_asked_for() -> None:
    assert {False, True, *METHODS} == set(EXPLANATIONS)  # listed twice, since the first list must not load PyTorch
