"""Images to captions with everything that outputs need: the one path that batches, the predictor and repeats share.

Shape legend: B cases, V views, T new tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scripts.concepts.header import HeaderAnswers, header_answers
from scripts.errors import InputError
from scripts.kernels.precision import autocast
from scripts.provenance.timing import StepTimer
from scripts.reading.image_meta import ImageMeta

if TYPE_CHECKING:
    from scripts.generation import Generated, GenerationOptions
    from scripts.networks.caption_network import CaptionNetwork

__all__ = ["caption_batch", "token_texts"]


def caption_batch(
    network: CaptionNetwork,
    image: Tensor | None,
    image_mask: Tensor | None = None,
    *,
    dtype: str = "float32",
    prompts: str | list[str] | None = None,
    options: GenerationOptions | None = None,
    explain: bool | str = False,
    timer: StepTimer | None = None,
    samples: int = 0,
    seed: int = 0,
    file_metas: Sequence[ImageMeta] = (),
    **cached: Tensor,
) -> dict[str, Any]:
    """Caption a batch; tokens are encoded once, whatever is made of them.

    Args:
        network: in eval mode, on the device of ``image``.
        image: ``[B, 3, S, S]`` or ``[B, V, 3, S, S]`` in [0, 1], or None with ``cached`` tokens.
        image_mask: ``[B, V]`` bool.
        dtype: autocast precision.
        prompts: one for all, or one each; the network's own by default. Captions begin with their words.
        options: the network's own by default.
        explain: False, True (``"attention"``) or ``"gradient"``: also give ``explanations``.
        timer: is told how long each step took.
        samples: also draw this many captions of each case, from the model's own distribution, with ``seed``.
        file_metas: what readers found in the files of each case; guided beams then do not contradict headers.

    Returns:
        ``pred`` ids ``[B, T]``, ``token_logprobs`` ``[B, T]``, ``lengths`` ``[B]``, ``captions``, ``prompts`` (the
        words that each of them begins with), ``words`` (text of each generated token), ``support`` (see
        :meth:`CaptionNetwork.support`), ``encoded`` (tokens and masks by branch), ``seconds`` by step, and where asked
        for ``samples`` (texts of each case) and ``explanations``.
    """
    timer = timer or StepTimer()
    device = next(network.parameters()).device
    with torch.no_grad(), timer.watch(network):
        with autocast(device, dtype):
            encoded = network.encode(image, image_mask, **cached)
        with timer.step("generate"):
            prefix = _prefix(network, encoded, dtype, prompts)
            known = _known(network, file_metas)
            made = network.write(prefix, encoded, prompts=prompts, options=options, known=known)
    timer.split_generation()
    result = {
        "pred": made.token_ids,
        "token_logprobs": made.token_logprobs,
        "lengths": made.lengths,
        "captions": network.captions(made.token_ids, prompts),
        "prompts": network.spoken(prompts, len(made.token_ids)),
        "words": _words(network, made),
        "encoded": encoded,
        "support": network.support(encoded, made.token_ids, prompts, known),
    }
    if samples:
        with timer.step("sample"):
            result["samples"] = _samples(network, prefix, options or network.options, samples, seed)
    if explain:
        with timer.step("explain"), autocast(device, dtype):
            result["explanations"] = _explanations(network, result, image, explain, prompts)
    result["seconds"] = timer.rounded()
    return result


def _known(network: CaptionNetwork, file_metas: Sequence[ImageMeta]) -> list[HeaderAnswers]:
    """What the files say in the words of the concept reader, which is what weighs it."""
    reader = network.concept_reader
    return [] if reader is None else [header_answers(meta, reader.vocabulary) for meta in file_metas]


def _words(network: CaptionNetwork, made: Generated) -> list[list[str]]:
    """Text of each token of each caption, without the padding after it."""
    rows = zip(made.token_ids, made.lengths.tolist(), strict=True)
    return [token_texts(network.tokenizer, ids[:length].tolist()) for ids, length in rows]


def _prefix(
    network: CaptionNetwork, encoded: Mapping[str, Any], dtype: str, prompts: str | list[str] | None
) -> tuple[Tensor, Tensor]:
    """Prefix ``[B, P, D]`` and mask.

    Q-Formers run under autocast; the language model, after this, in its own precision: its weights are laid out for it.
    """
    with autocast(next(network.parameters()).device, dtype):
        embeddings, mask = network.prefix(encoded, prompts)
    return embeddings.to(network.language_model.dtype), mask


def _samples(
    network: CaptionNetwork, prefix: tuple[Tensor, Tensor], options: GenerationOptions, count: int, seed: int
) -> list[list[str]]:
    """``count`` texts after the prompt of each case, drawn from the model's own distribution.

    The encoders do not run again.
    """
    plain = {"num_beams": 1, "num_beam_groups": 1, "diversity_penalty": 0.0, "length_penalty": 1.0}
    drawn = replace(options, do_sample=True, num_return=count, seed=seed, **plain)
    with torch.no_grad():
        texts = network.decode(network.generator.generate(*prefix, drawn).token_ids)
    return [texts[start : start + count] for start in range(0, len(texts), count)]


def _explanations(
    network: CaptionNetwork,
    made: Mapping[str, Any],
    image: Tensor | None,
    explain: bool | str,
    prompts: str | list[str] | None,
) -> list:
    """Explanation of each caption; a later module, loaded only when asked for."""
    try:
        from scripts.explanation import explain as explain_captions
    except ModuleNotFoundError as error:
        if error.name != "scripts.explanation":
            raise
        raise InputError("explanations cannot be made by this version: leave explain at false") from None
    method = "attention" if explain is True else explain
    return explain_captions(
        network, made["encoded"], image, made["pred"], made["lengths"], method=method, prompts=prompts
    )


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Text that each token adds to the caption; special tokens, and all but the last of a split character, add ``""``.

    Joined, they are what was generated: the caption, after the words of a prompt.
    """
    texts, done = [], ""
    for end in range(1, len(ids) + 1):
        text = tokenizer.decode(ids[:end], skip_special_tokens=True)
        complete = text if end == len(ids) else text.rstrip("\ufffd")
        new = complete[len(done) :] if complete.startswith(done) else ""
        texts.append(new)
        done += new
    return texts
