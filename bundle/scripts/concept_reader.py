"""The general encoder's own reading of an image, by which the best of several captions is chosen.

A language model weighs words by how they follow one another as much as by the image. So beams are ranked again by two
witnesses: the language model, and linear readers of concepts and fields on the encoder's mean token, as in re-ranking
by detected words (Fang et al., CVPR 2015, arXiv 1411.4952, section 5):

    score(c) = log p_LM(c | image)
               + weight * (sum_f log p(field_f of c | image) + 0.1 * sum_k log p(concept_k in c or not | image))

The second term is minus the loss that :class:`scripts.concepts.ConceptNetwork` tunes the encoder by, of this caption.
The readers are fitted to the finished encoder, on its tokens alone: a convex problem of one or two minutes.

Shape legend: B images, R captions an image, N encoder tokens, C their width, K concepts, F fields.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from .atomic import write_atomically
from .concept_vocabulary import FIELDS, UNKNOWN, ConceptVocabulary
from .encoders.frozen import FrozenEncoder
from .errors import WeightsError
from .generation import Generated
from .provenance import frozen_sha256

__all__ = ["ConceptReader", "fit_concept_reader", "load_concept_reader", "save_concept_reader"]

CONCEPT_WEIGHT = 0.1  # of the concepts (a sum over hundreds) beside the fields, as when the encoder is tuned
SPREAD = 1e-4  # added to standard deviations: a channel that never varies stays at zero


class ConceptReader(nn.Module):
    """Linear classifiers of concepts and fields on the standardized mean token. Frozen; no part of a checkpoint.

    Args:
        vocabulary: what is read.
        width: C.
    """

    def __init__(self, vocabulary: ConceptVocabulary, width: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.sizes = [len(vocabulary), *(len(names) for names in vocabulary.fields.values())]
        self.register_buffer("mean", torch.zeros(width), persistent=False)
        self.register_buffer("scale", torch.ones(width), persistent=False)
        self.register_buffer("weight", torch.zeros(sum(self.sizes), width), persistent=False)
        self.register_buffer("bias", torch.zeros(sum(self.sizes)), persistent=False)

    def forward(self, tokens: Tensor, token_mask: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits of concepts ``[B, K]`` and log-probabilities by field, from encoder tokens ``[B, N, C]``."""
        pooled = mean_token(tokens, token_mask)
        concepts, *fields = F.linear((pooled - self.mean) * self.scale, self.weight, self.bias).split(self.sizes, dim=1)
        return concepts, {name: logits.log_softmax(1) for name, logits in zip(FIELDS, fields, strict=True)}

    def score(
        self, tokens: Tensor, captions: Sequence[Sequence[str]], token_mask: Tensor | None = None
    ) -> list[list[float]]:
        """Log-probability of what each caption says: the second term of the module's equation, without its weight.

        A field that a caption does not name, or answers as no training caption did, counts as a guess: 1 / answers.

        Args:
            tokens: ``[B, N, C]``; token_mask: ``[B, N]`` or None.
            captions: R texts of each image.
        """
        concepts, fields = self(tokens, token_mask)
        return [
            [self._score_one(concepts[row], [read[row] for read in fields.values()], text) for text in texts]
            for row, texts in enumerate(captions)
        ]

    def _score_one(self, concepts: Tensor, fields: Sequence[Tensor], caption: str) -> float:
        targets = self.vocabulary.targets(caption).to(concepts)
        unlikely = F.binary_cross_entropy_with_logits(concepts, targets, reduction="sum")
        return float(self._field_score(fields, caption) - CONCEPT_WEIGHT * unlikely)

    def _field_score(self, fields: Sequence[Tensor], caption: str) -> Tensor:
        """Log-probabilities of the answers of one field after another, ``[answers]`` each -> that of the caption's."""
        total = self.bias.new_zeros(())
        for read, answer in zip(fields, self.vocabulary.field_targets(caption).tolist(), strict=True):
            if len(read):
                total = total + (read[answer] if answer != UNKNOWN else -math.log(len(read)))
        return total

    def support(self, tokens: Tensor, captions: Sequence[str], token_mask: Tensor | None = None) -> list[float]:
        """How far each image bears its caption out: log-probability of the plane, modality and organ that it names.

        Args:
            tokens: ``[B, N, C]``; token_mask: ``[B, N]`` or None.
            captions: one of each image.
        """
        _, fields = self(tokens, token_mask)
        return [
            float(self._field_score([read[row] for read in fields.values()], caption))
            for row, caption in enumerate(captions)
        ]

    def best_of(
        self,
        made: Generated,
        captions: Sequence[str],
        tokens: Tensor,
        token_mask: Tensor | None = None,
        *,
        weight: float,
    ) -> Generated:
        """The caption of each image with the highest score; of equal ones the language model's first.

        Args:
            made: R captions of each of B images, R the same for all.
            captions: their texts, ``B * R``.
            tokens: ``[B, N, C]``; token_mask: ``[B, N]`` or None.
            weight: of the readers beside the language model.
        """
        images = len(tokens)
        each = len(captions) // images
        read = self.score(tokens, [captions[b * each : (b + 1) * each] for b in range(images)], token_mask)
        likely = made.token_logprobs.sum(dim=1).view(images, each)
        scores = likely + weight * torch.tensor(read, dtype=likely.dtype, device=likely.device)
        rows = scores.argmax(dim=1) + torch.arange(images, device=likely.device) * each
        return Generated(*(getattr(made, name)[rows] for name in Generated.__dataclass_fields__))


def mean_token(tokens: Tensor, token_mask: Tensor | None = None) -> Tensor:
    """``[B, N, C] -> [B, C]`` over real tokens, in float32."""
    tokens = tokens.float()
    if token_mask is None:
        return tokens.mean(dim=1)
    real = token_mask.to(tokens)[..., None]
    return (tokens * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)


@torch.no_grad()
def _read_cases(cases: Sequence[Mapping[str, Any]], encoder: FrozenEncoder) -> tuple[Tensor, list[str]]:
    """Mean tokens ``[M, C]`` and captions of cases with cached ``general_tokens`` ``[N, C]``, or with ``image``."""
    rows, captions = [], []
    for index in range(len(cases)):
        case = cases[index]
        captions.append(case["caption"])
        tokens = case.get("general_tokens")
        if tokens is None:
            image = torch.as_tensor(case["image"])
            tokens = encoder(image[None] if image.ndim == 3 else image).flatten(0, 1)
        rows.append(torch.as_tensor(tokens).float().mean(dim=0))
    return torch.stack(rows), captions


def fit_concept_reader(
    training: Sequence[Mapping[str, Any]],
    validation: Sequence[Mapping[str, Any]],
    *,
    encoder: FrozenEncoder,
    encoder_weights: str,
    path: str | Path,
    min_count: int = 10,
    penalty: float = 0.1,
) -> ConceptReader:
    """Fit readers to a finished general encoder, print how often they are right, and write them.

    Minimises, for the concepts and for each field, ``mean cross-entropy + penalty * |W|^2`` on standardized mean
    tokens with L-BFGS: convex, so the result does not depend on a seed.

    Args:
        training: cases with ``caption`` and ``general_tokens`` (or ``image``); validation: likewise, only looked at.
        encoder: whose tokens these are.
        encoder_weights: where it was loaded from; the readers are marked with the hash.
        path: the file to write.
        min_count: captions that must hold a phrase to make it a concept.
        penalty: an encoder tuned on these very images needs a strong one. On medcap-open validation 0.05 to 0.2 give
            the same accuracies within a point; 0.001 loses three to eight.

    Raises:
        InputError: the captions have no concept in common.
    """
    pooled, captions = _read_cases(training, encoder)
    vocabulary = ConceptVocabulary.from_captions(captions, min_count=min_count)
    reader = ConceptReader(vocabulary, encoder.width)
    reader.mean.copy_(pooled.mean(dim=0))
    reader.scale.copy_(1 / (pooled.std(dim=0) + SPREAD))
    inputs = (pooled - reader.mean) * reader.scale
    concepts = torch.stack([vocabulary.targets(caption) for caption in captions])
    parts = [_fit(inputs, concepts, penalty=penalty, start=torch.logit(vocabulary.shares))]
    answers = torch.stack([vocabulary.field_targets(caption) for caption in captions])
    for column, names in enumerate(vocabulary.fields.values()):
        parts.append(_fit(inputs, answers[:, column], penalty=penalty, start=torch.zeros(len(names))))
    reader.weight.copy_(torch.cat([weight for weight, _ in parts]))
    reader.bias.copy_(torch.cat([bias for _, bias in parts]))
    _report(reader, validation, encoder)
    save_concept_reader(reader, path, encoder_weights=encoder_weights)
    print(f"{path}  {Path(path).stat().st_size / 1e6:.1f} MB")
    return reader


def _fit(inputs: Tensor, targets: Tensor, *, penalty: float, start: Tensor) -> tuple[Tensor, Tensor]:
    """Weight ``[K, C]`` and bias ``[K]``: independent concepts for float targets ``[M, K]``, else one of K answers."""
    weight = torch.zeros(len(start), inputs.shape[1], requires_grad=True)
    bias = start.clone().requires_grad_()
    if targets.ndim == 1:
        known = targets != UNKNOWN
        inputs, targets = inputs[known], targets[known]
    if len(start) == 0 or len(targets) == 0:
        return weight.detach(), bias.detach()
    solver = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        logits = F.linear(inputs, weight, bias)
        if targets.ndim == 1:
            error = F.cross_entropy(logits, targets)
        else:
            error = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(dim=1).mean()
        value = error + penalty * weight.square().sum()
        value.backward()
        return value

    solver.step(loss)
    return weight.detach(), bias.detach()


def _report(reader: ConceptReader, validation: Sequence[Mapping[str, Any]], encoder: FrozenEncoder) -> None:
    if not len(validation):
        return
    pooled, captions = _read_cases(validation, encoder)
    _, fields = reader(pooled[:, None])
    answers = torch.stack([reader.vocabulary.field_targets(caption) for caption in captions])
    right = {
        name: float((read.argmax(dim=1) == answers[:, column]).float().mean())
        for column, (name, read) in enumerate(fields.items())
        if read.shape[1]
    }
    print(f"{len(reader.vocabulary)} concepts; right on {len(captions)} validation cases: {right}")


def save_concept_reader(reader: ConceptReader, path: str | Path, *, encoder_weights: str) -> Path:
    """Write a reader as safetensors, atomically: tensors in half precision but the standardization, names beside."""
    vocabulary = reader.vocabulary
    about = {
        "names": vocabulary.names,
        "fields": vocabulary.fields,
        "longest": vocabulary.longest,
        "encoder": frozen_sha256("general_encoder", encoder_weights),
    }
    tensors = {
        "mean": reader.mean,
        "scale": reader.scale,
        "weight": reader.weight.half(),
        "bias": reader.bias.float(),
        "shares": vocabulary.shares,
    }
    data = save({name: value.contiguous() for name, value in tensors.items()}, {"about": json.dumps(about)})
    return write_atomically(path, lambda file: file.write(data))


def load_concept_reader(path: str | Path, *, width: int, encoder_weights: str) -> ConceptReader | None:
    """Read what :func:`save_concept_reader` wrote; None for the path ``""``.

    Args:
        path: the file.
        width: C of the general encoder.
        encoder_weights: where the general encoder was loaded from.

    Raises:
        WeightsError: the file is absent or damaged, or was fitted to another encoder.
    """
    if not str(path):
        return None
    remedy = "fit one with configs/concept_reader.json, or set concept_reader to ''"
    try:
        with safe_open(str(path), framework="pt") as file:
            about = json.loads((file.metadata() or {})["about"])
            found = {name: file.get_tensor(name).float() for name in ("mean", "scale", "weight", "bias", "shares")}
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise WeightsError(f"{path} is no concept reader ({error}): {remedy}") from None
    if set(about["encoder"].values()) != set(frozen_sha256("general_encoder", encoder_weights).values()):
        raise WeightsError(f"{path} was fitted to another general encoder than this one: {remedy}")
    vocabulary = ConceptVocabulary(
        about["names"], shares=found.pop("shares"), fields=about["fields"], longest=about["longest"]
    )
    reader = ConceptReader(vocabulary, width)
    for name, value in found.items():
        buffer = getattr(reader, name)
        if buffer.shape != value.shape:
            raise WeightsError(f"{path} is damaged: {name} is {tuple(value.shape)}: {remedy}")
        buffer.copy_(value)
    return reader
