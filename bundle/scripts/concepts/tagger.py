"""An encoder tuned to see the words and short phrases of captions.

An ImageNet encoder knows dogs, not planes and sequences. Before stage 1, :class:`ConceptNetwork` tunes it from pixels
to say which phrases of the training captions ("axial", "t2-weighted mri", "of the spine") describe an image, and which
plane, modality and organ they name. No label but the caption is needed. It stands where the paper has CLIP: an encoder
whose tokens were aligned with words. Source: word detection from weak captions (Fang et al., CVPR 2015, arXiv
1411.4952), here with a pooled linear classifier; ImageCLEFmedical calls the task concept detection.

Shape legend: B cases, V views of one, N encoder tokens, C their width, K concepts, F fields.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import Tensor, nn
from torch.nn import functional as F

from scripts.concepts.vocabulary import CLOSED_FIELDS, UNKNOWN, ConceptVocabulary
from scripts.encoders.frozen import FrozenEncoder
from scripts.errors import InputError


class CaptionConceptsd(MapTransform):
    """Add ``concepts`` ``[K]`` and ``field_targets`` ``[F]``, the targets of an item: of its caption, and of what its
    ``fields`` say is known; ``UNKNOWN`` is not learned.

    Args:
        keys: of the captions; only the first is read.
        vocabulary: a :class:`ConceptVocabulary`.
    """

    def __init__(self, keys: KeysCollection = "caption", *, vocabulary: ConceptVocabulary) -> None:
        super().__init__(keys)
        self.vocabulary = vocabulary

    def __call__(self, data: Mapping[Hashable, object]) -> dict[Hashable, object]:
        caption, fields = data[self.keys[0]], data.get("fields")
        targets = {
            "concepts": self.vocabulary.known_targets(caption, fields),
            "field_targets": self.vocabulary.field_targets(caption, fields),
        }
        return {**data, **targets}


class ConceptNetwork(nn.Module):
    """An encoder that learns, with linear classifiers of concepts and of fields on its mean token.

    Args:
        encoder: built with ``trainable_blocks`` above 0.
        vocabulary: what is predicted; each concept's bias starts at its log-odds in the training captions.
        dropout: on the mean token.
        concept_weight: of the concepts' loss (a sum over hundreds) beside the fields'.
        label_smoothing: share of each field's target that is spread over all answers, while it trains.
        mixup: parameter of the Beta distribution by which pairs of images of a batch, and their losses, are mixed while
            it trains (Zhang et al., ICLR 2018, arXiv 1710.09412); 0 does not.

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
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
    ) -> None:
        super().__init__()
        if encoder.is_frozen:
            raise InputError("the encoder to be tuned is frozen: set its trainable blocks, for instance to 'all'")
        self.encoder = encoder
        self.concept_weight = concept_weight
        self.label_smoothing = label_smoothing
        self.mixup = mixup
        self.dropout = nn.Dropout(dropout)
        self.concepts = nn.Linear(encoder.width, len(vocabulary))
        self.fields = nn.ModuleDict(
            {field: nn.Linear(encoder.width, len(names)) for field, names in vocabulary.fields.items() if names}
        )
        self._columns = {field: CLOSED_FIELDS.index(field) for field in self.fields}
        with torch.no_grad():
            self.concepts.weight.mul_(0.1)
            self.concepts.bias.copy_(torch.logit(vocabulary.shares))

    @property
    def batch_names(self) -> tuple[str, ...]:
        """What :meth:`forward` takes from a batch besides ``image``."""
        return ("image_mask", "concepts", "field_targets")

    def learn(self, branches: list[str] | None) -> None:
        """Accept phases that name no branches; there are none here.

        Raises:
            InputError: branches are named.
        """
        if branches is not None:
            raise InputError(f"phases that tune an encoder name no branches; remove {branches}")

    def forward(
        self,
        image: Tensor,
        concepts: Tensor | None = None,
        field_targets: Tensor | None = None,
        image_mask: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Logits, and the losses where targets are given.

        ``loss = concept_weight * sum_k BCE_k + CE_plane + CE_modality + CE_organ``, averaged over images (a field
        over those that know it, a concept's loss 0 for those that do not). Mixed images have the loss of both, by their
        shares.

        Args:
            image: ``[B, 3, H, H]`` in [0, 1], or ``[B, V, 3, H, H]``.
            concepts: ``[B, K]`` of 0, 1 and ``UNKNOWN``.
            field_targets: ``[B, F]`` int64.
            image_mask: ``[B, V]`` bool, True at real views; None when all are.

        Returns:
            ``{"concepts": [B, K]}`` and logits of each field; with targets also the scalars ``loss``,
            ``loss_concepts``, ``loss_plane``, ..., ``accuracy_plane``, ... and ``field_targets`` as given.
        """
        share, order = 1.0, None
        if self.training and self.mixup > 0 and concepts is not None:
            image, share, order = mixed(image, self.mixup, image_mask)
        pooled = self.dropout(self._pooled(image, image_mask))
        with torch.autocast(pooled.device.type, enabled=False):  # heads are small, and losses want their last bits
            result = {"concepts": self.concepts(pooled), **{name: head(pooled) for name, head in self.fields.items()}}
        if concepts is None:
            return result
        losses = self._losses(result, concepts, field_targets)
        if order is not None:
            others = self._losses(result, concepts[order], field_targets[order])
            losses = {name: share * value + (1 - share) * others[name] for name, value in losses.items()}
        weights = {"loss_concepts": self.concept_weight}
        loss = sum(weights.get(name, 1.0) * value for name, value in losses.items() if name.startswith("loss_"))
        return {**result, **losses, "loss": loss, "field_targets": field_targets}

    def _pooled(self, image: Tensor, image_mask: Tensor | None) -> Tensor:
        """Mean token ``[B, C]`` of each case, over its real views.

        Padding does not run through the encoder: it would count in the statistics of a batch.
        """
        if image.ndim == 4:
            return self.encoder(image).float().mean(dim=1)
        real = image.new_ones(image.shape[:2], dtype=torch.bool) if image_mask is None else image_mask.bool()
        views = self.encoder(image[real]).float().mean(dim=1)
        cases = real.nonzero()[:, 0]
        sums = views.new_zeros(len(image), views.shape[1]).index_add(0, cases, views)
        return sums / real.sum(dim=1, keepdim=True)

    def _losses(self, result: Mapping[str, Tensor], concepts: Tensor, field_targets: Tensor) -> dict[str, Tensor]:
        """Unweighted losses and accuracies of one set of targets."""
        smoothing = self.label_smoothing if self.training else 0.0
        known = (concepts != UNKNOWN).float()
        cross_entropies = F.binary_cross_entropy_with_logits(result["concepts"], concepts, known, reduction="none")
        found = {"loss_concepts": cross_entropies.sum(dim=1).mean()}
        for name, column in self._columns.items():
            target = field_targets[:, column]
            options = {"ignore_index": UNKNOWN, "reduction": "sum", "label_smoothing": smoothing}
            known = (target != UNKNOWN).sum().clamp(min=1)
            found[f"loss_{name}"] = F.cross_entropy(result[name], target, **options) / known
            found[f"accuracy_{name}"] = (result[name].argmax(dim=1) == target).sum() / known
        return found


def mixed(image: Tensor, mixup: float, image_mask: Tensor | None = None) -> tuple[Tensor, float, Tensor]:
    """``share * image + (1 - share) * image[order]`` with share >= 1/2 from Beta(mixup, mixup): all three.

    Of cases of several views, ``[B, V, 3, H, H]``, a view that the other case lacks stays as it is.
    """
    drawn = float(torch.distributions.Beta(mixup, mixup).sample())
    share, order = max(drawn, 1 - drawn), torch.randperm(len(image), device=image.device)
    mixture = share * image + (1 - share) * image[order]
    if image_mask is not None:
        mixture = torch.where(image_mask.bool()[order][:, :, None, None, None], mixture, image)
    return mixture, share, order
