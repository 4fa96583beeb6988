"""Concepts: the words and short phrases of captions, and an encoder tuned to see them.

An ImageNet encoder knows dogs, not planes and sequences. Before stage 1, :class:`ConceptNetwork` tunes it from pixels
to say which phrases of the training captions ("axial", "t2-weighted mri", "of the spine") describe an image, and which
plane, modality and organ they name. No label but the caption is needed. It stands where the paper has CLIP: an encoder
whose tokens were aligned with words. Source: word detection from weak captions (Fang et al., CVPR 2015, arXiv
1411.4952), here with a pooled linear classifier; ImageCLEFmedical calls the task concept detection.

Shape legend: B images, N encoder tokens, C their width, K concepts, F fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from ignite.metrics import Average, Metric
from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import Tensor, nn
from torch.nn import functional as F

from .encoders.frozen import FrozenEncoder
from .errors import InputError
from .metrics.fields import read_fields

__all__ = ["CaptionConceptsd", "ConceptNetwork", "ConceptVocabulary", "phrases", "validation_metrics"]

FIELDS = ("plane", "modality", "organ")
UNKNOWN = -100  # what PyTorch's cross entropy leaves out

_WORD = re.compile(r"[a-z0-9*]+(?:[-'][a-z0-9*]+)*")


def phrases(caption: str, longest: int) -> set[str]:
    """All runs of 1 to ``longest`` words of a caption, lower case, punctuation left out."""
    words = _WORD.findall(caption.lower())
    return {
        " ".join(words[start : start + size])
        for size in range(1, longest + 1)
        for start in range(len(words) - size + 1)
    }


class ConceptVocabulary:
    """The phrases worth predicting: frequent in the training captions, and no two that always occur together.

    Beside them stand the exclusive answers that captions give to plane, modality and organ
    (:func:`scripts.metrics.fields.read_fields`), in ``fields``.

    Args:
        captions: of the training cases.
        min_count: captions that must hold a phrase; where they are few, one in a hundred of them is enough.
        max_share: a phrase in more than this share of the captions says nothing ("showing").
        longest: words in a phrase.

    Raises:
        InputError: no phrase is left.
    """

    def __init__(
        self, captions: Sequence[str], *, min_count: int = 10, max_share: float = 0.95, longest: int = 4
    ) -> None:
        self.longest = longest
        holders: dict[str, list[int]] = {}
        for number, caption in enumerate(captions):
            for phrase in phrases(caption, longest):
                holders.setdefault(phrase, []).append(number)
        least = min(min_count, max(1, len(captions) // 100))
        frequent = [p for p, found in holders.items() if least <= len(found) <= max_share * len(captions)]
        by_captions: dict[tuple[int, ...], str] = {}
        for phrase in sorted(frequent, key=lambda p: (len(p.split()), p)):
            by_captions.setdefault(tuple(holders[phrase]), phrase)  # the shortest of those that always go together
        if not by_captions:
            raise InputError(
                f"no phrase of the {len(captions)} captions is in at least {least} of them and not in nearly all: "
                "captions that differ are needed to tune an encoder"
            )
        self.names = sorted(by_captions.values())
        self.shares = torch.tensor([len(holders[name]) / len(captions) for name in self.names])
        self._index = {name: number for number, name in enumerate(self.names)}
        read = [read_fields(caption) for caption in captions]
        self.fields = {
            field: sorted({value for fields in read if (value := getattr(fields, field)) is not None})
            for field in FIELDS
        }

    def __len__(self) -> int:
        return len(self.names)

    def targets(self, caption: str) -> Tensor:
        """``[K]`` float: 1 where the caption holds the concept."""
        present = [self._index[phrase] for phrase in phrases(caption, self.longest) if phrase in self._index]
        targets = torch.zeros(len(self))
        targets[present] = 1.0
        return targets

    def field_targets(self, caption: str) -> Tensor:
        """``[F]`` int64: the number of the plane, modality and organ that the caption names, ``UNKNOWN`` for none."""
        read = read_fields(caption)
        values = [(names, getattr(read, field)) for field, names in self.fields.items()]
        return torch.tensor([names.index(value) if value in names else UNKNOWN for names, value in values])


class CaptionConceptsd(MapTransform):
    """Add ``concepts`` ``[K]`` and ``field_targets`` ``[F]``, the targets of a caption.

    Args:
        keys: of the captions; only the first is read.
        vocabulary: a :class:`ConceptVocabulary`.
    """

    def __init__(self, keys: KeysCollection = "caption", *, vocabulary: ConceptVocabulary) -> None:
        super().__init__(keys)
        self.vocabulary = vocabulary

    def __call__(self, data: Mapping[Hashable, object]) -> dict[Hashable, object]:
        caption = data[self.keys[0]]
        targets = {
            "concepts": self.vocabulary.targets(caption),
            "field_targets": self.vocabulary.field_targets(caption),
        }
        return {**data, **targets}


class ConceptNetwork(nn.Module):
    """An encoder that learns, with linear classifiers of concepts and of fields on its mean token.

    Args:
        encoder: built with ``trainable_blocks`` above 0.
        vocabulary: what is predicted; each concept's bias starts at its log-odds in the training captions.
        dropout: on the mean token.
        concept_weight: of the concepts' loss (a sum over hundreds) beside the fields'.

    Raises:
        InputError: the encoder is frozen.
    """

    def __init__(
        self,
        *,
        encoder: FrozenEncoder,
        vocabulary: ConceptVocabulary,
        dropout: float = 0.2,
        concept_weight: float = 0.1,
    ) -> None:
        super().__init__()
        if encoder.is_frozen:
            raise InputError("the encoder to be tuned is frozen: set its trainable blocks, for instance to 'all'")
        self.encoder = encoder
        self.concept_weight = concept_weight
        self.dropout = nn.Dropout(dropout)
        self.concepts = nn.Linear(encoder.width, len(vocabulary))
        self.fields = nn.ModuleDict(
            {field: nn.Linear(encoder.width, len(names)) for field, names in vocabulary.fields.items() if names}
        )
        self._columns = {field: FIELDS.index(field) for field in self.fields}
        with torch.no_grad():
            self.concepts.weight.mul_(0.1)
            self.concepts.bias.copy_(torch.logit(vocabulary.shares))

    def learn(self, branches: list[str] | None) -> None:
        """Accept phases that name no branches; there are none here.

        Raises:
            InputError: branches are named.
        """
        if branches is not None:
            raise InputError(f"phases that tune an encoder name no branches; remove {branches}")

    def forward(
        self, image: Tensor, concepts: Tensor | None = None, field_targets: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Logits, and the losses where targets are given.

        ``loss = concept_weight * sum_k BCE_k + CE_plane + CE_modality + CE_organ``, averaged over images (a field
        over those whose caption names it).

        Args:
            image: ``[B, 3, H, H]`` in [0, 1].
            concepts: ``[B, K]`` of 0 and 1.
            field_targets: ``[B, F]`` int64.

        Returns:
            ``{"concepts": [B, K]}`` and logits of each field; with targets also the scalars ``loss``,
            ``loss_concepts``, ``loss_plane``, ..., ``accuracy_plane``, ... and ``field_targets`` as given.
        """
        pooled = self.dropout(self.encoder(image).float().mean(dim=1))
        result = {"concepts": self.concepts(pooled), **{name: head(pooled) for name, head in self.fields.items()}}
        if concepts is None:
            return result
        cross_entropies = F.binary_cross_entropy_with_logits(result["concepts"], concepts, reduction="none")
        losses = {"loss_concepts": cross_entropies.sum(dim=1).mean()}
        for name, column in self._columns.items():
            target = field_targets[:, column]
            total = F.cross_entropy(result[name], target, ignore_index=UNKNOWN, reduction="sum")
            known = (target != UNKNOWN).sum().clamp(min=1)
            losses[f"loss_{name}"] = total / known
            result[f"accuracy_{name}"] = (result[name].argmax(dim=1) == target).sum() / known
        weights = {"loss_concepts": self.concept_weight}
        loss = sum(weights.get(name, 1.0) * value for name, value in losses.items())
        return {**result, **losses, "loss": loss, "field_targets": field_targets}


def validation_metrics(vocabulary: ConceptVocabulary) -> dict[str, Metric]:
    """``val_loss``, which the best model is kept by, and the accuracy of each field that captions name.

    For ``key_val_metric`` of a MONAI evaluator whose network is a :class:`ConceptNetwork`. An accuracy is over the
    images whose caption names the field, whatever batches they come in.
    """

    def right(field: str) -> Callable[[Mapping[str, Any]], Tensor]:
        def transform(output: Mapping[str, Any]) -> Tensor:
            targets = output["pred"]["field_targets"][:, FIELDS.index(field)]
            known = targets != UNKNOWN
            answers = output["pred"][field][known].argmax(dim=1)
            return (answers == targets[known]).float()[:, None]  # ignite counts rows, of vectors

        return transform

    loss = Average(output_transform=lambda output: output["pred"]["loss"].float())
    return {"val_loss": loss} | {name: Average(right(name))[0] for name, names in vocabulary.fields.items() if names}
