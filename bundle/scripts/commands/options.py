"""`CaptionOptions`: what a request may ask of a caption, one table for the service, the worker, MONAI Label and Slicer.

Every value has its range and, for whoever gives a wrong one, what to give instead. What is left out is the bundle's
own setting.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError

from scripts.errors import InputError
from scripts.given_values import typed_settings

Text = Annotated[str, Strict()]
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()] | Whole
Switch = Annotated[bool, Strict()]
MAX_PROMPT = 2_000
MAX_TEXT = 200


def _option(does: str, give: str, **limits: Any) -> Any:
    """A field that is left out by default; ``give`` ends the sentence that a wrong value gets."""
    return Field(default=None, description=does, json_schema_extra={"give": give}, **limits)


def _whole(does: str, low: int, high: int) -> Any:
    return _option(does, f"a whole number, at least {low} and at most {high}", ge=low, le=high)


def _number(does: str, low: float, high: float) -> Any:
    return _option(does, f"a number, at least {low:g} and at most {high:g}", ge=low, le=high)


def _switch(does: str) -> Any:
    return _option(does, "true or false")


class CaptionOptions(BaseModel):
    """Options of one caption; None is the bundle's own setting."""

    model_config = ConfigDict(extra="forbid")

    window: Text | None = _option(
        "intensity window: auto, file, a CT preset such as lung, or centre/width in HU",
        "text such as 'auto', 'lung' or '40/400'",
        max_length=MAX_TEXT,
    )
    slice: Text | Whole | Annotated[float, Strict()] | None = _option(
        "which slice of a volume: an index, a fraction, middle or most_informative",
        "an index, a fraction or 'middle'",
    )
    plane: Text | None = _option("axial, coronal, sagittal or auto", "text such as 'axial'", max_length=MAX_TEXT)
    prompt: Text | None = _option(
        "words that the caption begins with", f"text of at most {MAX_PROMPT:,} characters", max_length=MAX_PROMPT
    )
    explain: Switch | Literal["attention", "gradient", "occlusion", "reader"] | None = _option(
        "where in the image each word rests on", "true, false, 'attention', 'gradient', 'occlusion' or 'reader'"
    )
    num_beams: Whole | None = _whole("captions that are weighed side by side; 1 is the quickest", 1, 32)
    max_new_tokens: Whole | None = _whole("tokens that a caption ends after at the latest", 1, 512)
    min_new_tokens: Whole | None = _whole("tokens before which a caption does not end", 0, 512)
    length_penalty: Number | None = _number("more than 0 favours long captions", -10, 10)
    repetition_penalty: Number | None = _number("more than 1 makes said words less likely", 0.01, 10)
    no_repeat_ngram_size: Whole | None = _whole("no run of so many tokens comes twice", 0, 64)
    no_repeated_words: Switch | None = _switch("no words are said twice in a row")
    do_sample: Switch | None = _switch("draw tokens instead of taking the likeliest")
    temperature: Number | None = _number("of drawing", 0.01, 10)
    top_k: Whole | None = _whole("draw among so many tokens; 0 is all", 0, 100_000)
    top_p: Number | None = _number("draw among the likeliest that make up this share", 0.001, 1)
    num_return: Literal[1] | None = _option("a request gets one caption", "1, at most 1: it is a whole number")
    num_beam_groups: Whole | None = _whole("groups of beams that are kept apart", 1, 32)
    diversity_penalty: Number | None = _number("how far groups of beams are kept apart", 0, 100)
    early_stopping: Switch | Literal["never"] | None = _option("when beams end", "true, false or 'never'")
    stop_strings: tuple[Text, ...] | list[Text] | Text | None = _option("texts that end a caption", "a list of texts")
    seed: Whole | None = _whole("of drawing", 0, 2**63 - 1)

    def given(self) -> dict[str, Any]:
        """The options that were given, as :meth:`CaptionPredictor.caption` takes them."""
        return {name: value for name, value in self if value is not None}

    def parts(self) -> CaptionParts:
        """How the image is read, what is asked of the words, and how they are decoded."""
        given = self.given()
        reading = {name: given.pop(name, None) for name in ("window", "slice", "plane")}
        prompt, explain = given.pop("prompt", None), given.pop("explain", False)
        return CaptionParts(reading, prompt or None, explain, given)


@dataclass(frozen=True)
class CaptionParts:
    """`CaptionOptions` by what they are for.

    Attributes:
        reading: ``window``, ``slice`` and ``plane``, None for the bundle's own.
        prompt: None for the bundle's own.
        explain: False, True or a method.
        generation: fields of ``GenerationOptions``.
    """

    reading: dict[str, Any]
    prompt: str | None
    explain: bool | str
    generation: dict[str, Any]


def options_of(given: Mapping[str, Any]) -> CaptionOptions:
    """Options from plain values; None counts as left out.

    Raises:
        InputError: an option is not known, or has a value that it cannot have.
    """
    for name in given:
        if name not in CaptionOptions.model_fields:
            listed = ", ".join(CaptionOptions.model_fields)
            raise InputError(f"{name!r} is no option{_meant(name)}: options are {listed}")
    try:
        return CaptionOptions.model_validate(dict(given))
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        raise InputError(f"{name} is {_shortened(given[name])}; give {remedy(name)}") from None


def from_query(items: Mapping[str, str]) -> CaptionOptions:
    """Options from the texts of a query or a form: numbers, true and false as they are meant."""
    typed = {}
    for name, value in items.items():
        typed[name] = value if name in ("prompt", "window", "plane") else typed_settings([f"{name}={value}"])[name]
    return options_of(typed)


def refuse_near_misses(names: Mapping[str, Any]) -> None:
    """For requests that also hold what is not ours: refuse only names that look like a misspelt option.

    Raises:
        InputError: one does.
    """
    for name in names:
        if name not in CaptionOptions.model_fields and _meant(name):
            raise InputError(f"option {name!r} is not known{_meant(name)}?")


def remedy(name: str) -> str:
    """What to give for an option."""
    extra = CaptionOptions.model_fields[name].json_schema_extra
    return str(extra["give"]) if isinstance(extra, Mapping) else "another value"


def _meant(name: Any) -> str:
    found = difflib.get_close_matches(str(name), CaptionOptions.model_fields, 1, 0.75)
    return f"; did you mean {found[0]!r}" if found else ""


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
