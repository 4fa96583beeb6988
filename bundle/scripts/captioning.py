"""Captioning: images to captions with all that outputs need, the one path of batches, predictor and repeats.

Shape legend: B cases, V views, T new tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scripts.concepts.familiarity import UNFAMILIAR
from scripts.concepts.stated import Stated, stated_by
from scripts.concepts.statement_check import contradicts
from scripts.confidence.evidence import Evidence
from scripts.kernels.free_cores import settle_threads
from scripts.kernels.precision import autocast
from scripts.networks.prompts import spoken
from scripts.provenance.timing import StepTimer
from scripts.reading.image_meta import ImageMeta

if TYPE_CHECKING:
    from scripts.explanation import Explanation
    from scripts.generation import Generated, GenerationOptions
    from scripts.generation.options import Watch
    from scripts.networks.caption_network import CaptionNetwork
    from scripts.networks.prompts import Prompt


Written = Callable[[Mapping[int, str]], None]
"""Told what is written so far: row of the batch -> text, for those that still change."""


@dataclass(frozen=True)
class CaptionedBatch:
    """What captioning gives for a batch.

    Attributes:
        token_ids: ``[B, T]``, padded; those of a prompt are not among them.
        token_logprobs: ``[B, T]``, natural logarithms.
        lengths: ``[B]``, tokens of each caption that count.
        captions: texts, the words of a prompt included.
        prompts: the words that each caption begins with because they were given; "" for none.
        words: text of each generated token, the end token as "".
        encoded: encoder tokens ``[B, N, C]`` and masks by name.
        support: see :meth:`CaptionNetwork.support`.
        seconds: how long each step took.
        samples: texts drawn for each case, where asked for.
        explanations: of each caption, where asked for.
        evidence: what is known of each caption's finding; None where an image has several captions.
        notes: sentences on how each caption came about; most have none.
        withheld: why an image is not captioned, None for one that is; empty where all are.
    """

    token_ids: Tensor
    token_logprobs: Tensor
    lengths: Tensor
    captions: list[str]
    prompts: list[str]
    words: list[list[str]]
    encoded: Mapping[str, tuple[Tensor, Tensor | None]]
    support: list[float] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    samples: list[list[str]] | None = None
    explanations: list[Explanation | None] | None = None
    evidence: list[Evidence | None] | None = None
    notes: Sequence[Sequence[str]] = ()
    withheld: Sequence[str | None] = ()

    def __iter__(self) -> Iterator[str]:
        """The text of each caption, or why it is withheld: what MONAI's ``decollate_batch`` leaves of a batch."""
        for text, why in zip_longest(self.captions, self.withheld):
            yield f"withheld: {why}" if why else text

    def logprobs_of(self, row: int) -> list[float]:
        """Natural logarithm of the probability of each token of one caption, the end token included."""
        return self.token_logprobs[row, : int(self.lengths[row])].float().tolist()


def caption_batch(
    network: CaptionNetwork,
    image: Tensor | None,
    image_mask: Tensor | None = None,
    *,
    dtype: str = "float32",
    prompts: str | Sequence[str] | None = None,
    options: GenerationOptions | None = None,
    explain: bool | str = False,
    timer: StepTimer | None = None,
    samples: int = 0,
    seed: int = 0,
    file_metas: Sequence[ImageMeta] = (),
    written: Written | None = None,
    anything: bool = False,
    **cached: Tensor,
) -> CaptionedBatch:
    """Caption a batch, but for images that look like nothing that the network knows; tokens are encoded once.

    Args:
        network: in eval mode, on the device of ``image``.
        image: ``[B, 3, S, S]`` or ``[B, V, 3, S, S]`` in [0, 1], or None with ``cached`` tokens.
        image_mask: ``[B, V]`` bool.
        dtype: autocast precision.
        prompts: one for all, or one each; the network's own by default. Captions begin with their words.
        options: the network's own by default.
        explain: False, True (the default method) or a method: also give ``explanations``.
        timer: is told how long each step took.
        samples: also draw this many captions of each case, from the model's own distribution, with ``seed``.
        file_metas: what readers found in the files of each case; captions then do not contradict what files state.
        written: told after each step of decoding; what it raises ends the work.
        anything: caption whatever the images look like.
    """
    settle_threads()
    timer = timer or StepTimer()
    with torch.no_grad(), timer.watch(network), autocast(next(network.parameters()).device, dtype):
        encoded = network.encode(image, image_mask, **cached)
    given = network.prompts_of(prompts, len(next(iter(encoded.values()))[0]))
    known = [stated_by(meta) for meta in file_metas]
    asked = _Asked(dtype, options or network.options, explain, samples, seed, timer)
    strange = [False] if anything else network.strange(encoded)
    if not any(strange):
        return _captions(network, image, encoded, given, known, asked, written)
    kept = [row for row, out in enumerate(strange) if not out]
    made = _nothing(len(strange), asked)
    if kept:
        some = {name: (tokens[kept], None if mask is None else mask[kept]) for name, (tokens, mask) in encoded.items()}
        told = None if written is None else lambda texts: written({kept[row]: text for row, text in texts.items()})
        of_kept = ([given[row] for row in kept], [known[row] for row in kept] if known else [], asked, told)
        made = _captions(network, None if image is None else image[kept], some, *of_kept)
    return _spread(replace(made, encoded=encoded), kept, len(strange), asked)


@dataclass(frozen=True)
class _Asked:
    """What is asked of every image of a batch; see :func:`caption_batch`."""

    dtype: str
    options: GenerationOptions
    explain: bool | str
    samples: int
    seed: int
    timer: StepTimer


def _captions(
    network: CaptionNetwork,
    image: Tensor | None,
    encoded: Mapping[str, tuple[Tensor, Tensor | None]],
    prompts: Sequence[Prompt],
    known: Sequence[Stated],
    asked: _Asked,
    written: Written | None,
) -> CaptionedBatch:
    """Captions of encoded images, none of which is withheld."""
    timer, options = asked.timer, asked.options
    with torch.no_grad(), timer.watch(network), timer.step("generate"):
        prefix = _prefix(network, encoded, asked.dtype, prompts)
        watch = None if written is None else _watch(network, prompts, written)
        weighed = network.write(
            prefix, encoded, prompts=prompts, options=options, known=known, watch=watch, all_beams=True
        )
        made = _best(weighed, len(prompts), options.num_return)
    timer.split_generation()
    drawn = explanations = None
    if asked.samples:
        with timer.step("sample"):
            drawn = _samples(network, prefix, options, asked.samples, asked.seed)
    if asked.explain:
        with timer.step("explain"), autocast(next(network.parameters()).device, asked.dtype):
            explanations = _explanations(network, encoded, image, made, asked.explain, prompts)
    support = network.support(encoded, made.token_ids, prompts, known)
    evidence = _evidence(network, encoded, weighed, prompts, known) if len(made.token_ids) == len(prompts) else None
    result = replace(_captioned(network, encoded, made, prompts), notes=_notes(made, prompts, known), evidence=evidence)
    return replace(result, support=support, seconds=timer.rounded(), samples=drawn, explanations=explanations)


def _nothing(images: int, asked: _Asked) -> CaptionedBatch:
    """No caption of any image."""
    empty = torch.zeros(images * asked.options.num_return, 0)
    lengths = empty.sum(1).long()
    return CaptionedBatch(empty.long(), empty, lengths, [], [], [], {}, seconds=asked.timer.rounded())


def _captioned(
    network: CaptionNetwork, encoded: Mapping[str, tuple[Tensor, Tensor | None]], made: Generated,
    prompts: Sequence[Prompt],
) -> CaptionedBatch:  # fmt: skip
    """What was generated, in words."""
    each = len(made.token_ids) // len(prompts)  # captions of an image
    return CaptionedBatch(
        token_ids=made.token_ids,
        token_logprobs=made.token_logprobs,
        lengths=made.lengths,
        captions=network.captions(made.token_ids, prompts),
        prompts=[spoken(prompt.given, network.tokenizer) for prompt in prompts for _ in range(each)],
        words=_words(network, made),
        encoded=encoded,
    )


def _best(made: Generated, images: int, wanted: int) -> Generated:
    """The first ``wanted`` captions of each image."""
    each = len(made.token_ids) // images
    if each <= wanted:
        return made
    rows = [image * each + place for image in range(images) for place in range(wanted)]
    found = {name: value[rows] for name, value in vars(made).items() if isinstance(value, Tensor)}
    longest = max(1, int(found["lengths"].max()))
    for name in ("token_ids", "token_logprobs"):
        found[name] = found[name][:, :longest]
    return replace(made, **found)


def _evidence(
    network: CaptionNetwork,
    encoded: Mapping[str, tuple[Tensor, Tensor | None]],
    made: Generated,
    prompts: Sequence[Prompt],
    known: Sequence[Stated],
) -> list[Evidence]:
    """The beams of each image, the training cases near it, and what the concept reader sees of its best caption."""
    each = len(made.token_ids) // len(prompts)
    texts, scores = network.captions(made.token_ids, prompts), made.sequence_scores.float().tolist()
    near = network.similar(encoded)
    seen = network.seen(encoded, texts[::each], known)
    return [
        Evidence(texts[first : first + each], scores[first : first + each], cases, chance)
        for first, cases, chance in zip(range(0, len(texts), each), near, seen, strict=True)
    ]


def _spread(made: CaptionedBatch, kept: Sequence[int], images: int, asked: _Asked) -> CaptionedBatch:
    """What was made of the images ``kept``, among empty rows for the others."""
    several = asked.options.num_return
    rows = [row * several + place for row in kept for place in range(several)]

    def tensor(values: Tensor) -> Tensor:
        whole = values.new_zeros(images * several, *values.shape[1:])
        whole[rows] = values
        return whole

    def texts(values: Sequence[Any]) -> list[Any]:
        return _among(values, rows, images * several, list)

    return replace(
        made,
        token_ids=tensor(made.token_ids[: len(rows)]),
        token_logprobs=tensor(made.token_logprobs[: len(rows)]),
        lengths=tensor(made.lengths[: len(rows)]),
        captions=_among(made.captions, rows, images * several, str),
        prompts=_among(made.prompts, rows, images * several, str),
        words=texts(made.words),
        support=None if made.support is None else _among(made.support, rows, images, _none),
        samples=_among(made.samples or [], kept, images, list) if asked.samples else None,
        explanations=_among(made.explanations or [], rows, images * several, _none) if asked.explain else None,
        evidence=None if made.evidence is None else _among(made.evidence, rows, images * several, _none),
        notes=texts(made.notes),
        withheld=_among([None] * len(rows), rows, images * several, lambda: UNFAMILIAR),
    )


def _among(values: Sequence[Any], places: Sequence[int], count: int, blank: Callable[[], Any]) -> list[Any]:
    """The values at their ``places`` in a list of ``count``, blanks elsewhere."""
    whole = [blank() for _ in range(count)]
    for place, value in zip(places, values, strict=True):
        whole[place] = value
    return whole


def _none() -> None:
    return None


def _watch(network: CaptionNetwork, prompts: Sequence[Prompt], written: Written) -> Watch:
    """Token ids of each step as texts."""

    def watch(images: Tensor, token_ids: Tensor) -> None:
        rows = images.tolist()
        texts = network.captions(token_ids, [prompts[row] for row in rows])
        written(dict(zip(rows, texts, strict=True)))

    return watch


def _notes(made: Generated, prompts: Sequence[Prompt], known: Sequence[Stated]) -> list[list[str]]:
    """What is to be said of how each caption came about, for its record."""
    each = len(made.token_ids) // len(prompts)
    notes: list[list[str]] = [[] for _ in made.token_ids]
    for row, said in enumerate(notes):
        stated = known[row // each] if known else Stated()
        given = prompts[row // each].given
        if made.composed is not None and bool(made.composed[row]):
            said.append(f"composed of what the file states ({stated}): no generated caption agreed with it")
        if stated and given and contradicts(given, stated):
            said.append(f"the words that were given contradict the file ({stated})")
    return notes


def _words(network: CaptionNetwork, made: Generated) -> list[list[str]]:
    """Text of each token of each caption, without the padding after it."""
    rows = zip(made.token_ids, made.lengths.tolist(), strict=True)
    return [token_texts(network.tokenizer, ids[:length].tolist()) for ids, length in rows]


def _prefix(
    network: CaptionNetwork, encoded: Mapping[str, Any], dtype: str, prompts: Sequence[Prompt]
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
    encoded: Mapping[str, tuple[Tensor, Tensor | None]],
    image: Tensor | None,
    made: Generated,
    explain: bool | str,
    prompts: Sequence[Prompt],
) -> list[Explanation]:
    """Explanation of each caption; the module is loaded only when asked for.

    The default method looks at the image; where only its tokens are kept, gradients stand in.
    """
    from scripts.explanation.word_maps import DEFAULT
    from scripts.explanation.word_maps import explain as explain_captions

    method = ("gradient" if image is None else DEFAULT) if explain is True else explain
    return explain_captions(network, encoded, image, made.token_ids, made.lengths, method=method, prompts=prompts)


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
