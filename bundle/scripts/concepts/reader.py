"""A second reading of an image, by which beams are guided and captions believed.

A language model weighs words by how they follow one another as much as by the image. So captions are chosen by two
witnesses: the language model, and encoders tuned to see the words and fields of captions (`tagger`), as
in re-ranking by detected words (Fang et al., CVPR 2015, arXiv 1411.4952, section 5):

    score(c) = log p_LM(c | image)
               + weight * sum_f log p(field_f of c | image)
               + weight * CONCEPT_WEIGHT * sum_k log p(concept_k in c or not | image)
               - prior_weight * log p(c)

A finished caption counts as ``score(c) / tokens ** length_penalty`` (end token included). The whole sum is divided, not
the language model's part alone, so the reading, which does not grow with a caption, weighs less in a longer one.

The encoders learn by the same terms (:class:`ConceptNetwork`). `guide` says how
beams are kept by them while they grow, `prior` what the last term is for.

Several encoders, tuned apart, read better than one: their logits are averaged. A reader that has an index of its
training cases also asks those near the image: ``log p(field_f)`` gains ``case_weight`` times what they say.

Shape legend: B images, C width of all encoders together, N tokens (one, or one a view), K concepts, F fields.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F

from scripts.concepts.guide import ConceptGuide
from scripts.concepts.header import only_agreeing
from scripts.concepts.prior import CaptionPrior
from scripts.concepts.seen import seen
from scripts.concepts.similar_cases import COUNT, SimilarCase, SimilarCases, load_similar_cases, votes
from scripts.concepts.stated import Stated
from scripts.concepts.vocabulary import CLOSED_FIELDS, ConceptVocabulary
from scripts.encoders.efficientnet import EfficientNetEncoder
from scripts.encoders.pooled import PooledEncoders
from scripts.errors import InputError, WeightsError
from scripts.weights.intact import read_safetensors, write_sealed_safetensors
from scripts.weights.loading import finite, load_parameters, read_state

if TYPE_CHECKING:
    from scripts.concepts.tagger import ConceptNetwork

_ENCODERS = {"EfficientNetEncoder": EfficientNetEncoder}  # those that a file may name


class ConceptReader(nn.Module):
    """Frozen encoders with linear classifiers of concepts and fields on their mean tokens. No part of a checkpoint.

    Args:
        vocabulary: what is read.
        encoder: the encoders, tuned for it.
        prior: how common the captions are that it was tuned on.
        cases: index of its training cases.
        case_weight: of what cases near an image say of plane, modality and organ, beside what its encoders see.
    """

    def __init__(
        self,
        vocabulary: ConceptVocabulary,
        encoder: PooledEncoders,
        prior: CaptionPrior | None = None,
        cases: SimilarCases | None = None,
        case_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.prior = prior
        self.cases = cases
        self.case_weight = case_weight
        self.encoder = encoder.requires_grad_(False)
        self.sizes = [len(vocabulary), *(len(names) for names in vocabulary.fields.values())]
        self.register_buffer("weight", torch.zeros(sum(self.sizes), encoder.width), persistent=False)
        self.register_buffer("bias", torch.zeros(sum(self.sizes)), persistent=False)

    @classmethod
    def joined(cls, readers: Sequence[ConceptReader]) -> ConceptReader:
        """One reader whose logits are the mean of these readers' logits.

        Raises:
            InputError: they read different things.
        """
        first = readers[0]
        read = [(reader.vocabulary.names, reader.vocabulary.fields) for reader in readers]
        if any(one != read[0] for one in read):
            raise InputError("concept readers of different captions cannot be joined: export them from one datalist")
        members = [member for reader in readers for member in reader.encoder.members]
        whole = cls(first.vocabulary, PooledEncoders(members), first.prior)
        whole.weight.copy_(torch.cat([reader.weight for reader in readers], dim=1) / len(readers))
        whole.bias.copy_(torch.stack([reader.bias for reader in readers]).mean(dim=0))
        return whole.eval()

    def forward(self, tokens: Tensor, token_mask: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits of concepts ``[B, K]`` and log-probabilities by field, from the encoder's tokens ``[B, N, C]``."""
        read = F.linear(mean_token(tokens, token_mask), self.weight.float(), self.bias.float())
        concepts, *fields = read.split(self.sizes, dim=1)
        return concepts, {name: logits.log_softmax(1) for name, logits in zip(CLOSED_FIELDS, fields, strict=True)}

    def _read(
        self, tokens: Tensor, token_mask: Tensor | None, known: Sequence[Stated], asking: bool = False
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As :meth:`forward`; only answers that agree with what files say, where that is known.

        ``asking`` also asks the cases near the images, where there is an index.
        """
        concepts, fields = self(tokens, token_mask)
        if asking and self.cases is not None and self.case_weight > 0:
            fields = self._asked(fields, self.similar(tokens, token_mask))
        return concepts, only_agreeing(fields, self.vocabulary, known) if known else fields

    def _asked(self, fields: Mapping[str, Tensor], near: Sequence[Sequence[SimilarCase]]) -> dict[str, Tensor]:
        """Log-probabilities ``[B, answers]`` by field, with what the cases near each image say."""
        said = {
            name: torch.stack([votes(cases, name, self.vocabulary.fields[name]) for cases in near]) for name in fields
        }
        return {name: (read + self.case_weight * said[name].to(read)).log_softmax(1) for name, read in fields.items()}

    def guide(
        self,
        tokens: Tensor,
        token_mask: Tensor | None = None,
        *,
        decode: Callable[[Tensor], Sequence[str]],
        starts: Sequence[str],
        weight: float,
        prior_weight: float = 0.0,
        known: Sequence[Stated] = (),
    ) -> ConceptGuide:
        """The guide of beams for these images; see :class:`ConceptGuide` for ``decode`` to ``prior_weight``.

        Args:
            tokens: ``[B, N, C]``; token_mask: ``[B, N]`` or None.
            known: what each image's file says, which counts for more than pixels; nothing by default.
        """
        concepts, fields = self._read(tokens, token_mask, known, asking=True)
        says = {"weight": weight, "prior": self.prior, "prior_weight": prior_weight, "known": known}
        return ConceptGuide(self.vocabulary, concepts, fields, decode=decode, starts=starts, **says)

    def support(
        self,
        tokens: Tensor,
        captions: Sequence[str],
        token_mask: Tensor | None = None,
        known: Sequence[Stated] = (),
    ) -> list[float]:
        """How far each image bears its caption out: log-probability of the plane, modality and organ that it names.

        Args:
            tokens: ``[B, N, C]``; token_mask: ``[B, N]`` or None.
            captions: one of each image.
            known: see :meth:`guide`.
        """
        guide = self.guide(tokens, token_mask, decode=list, starts=[""] * len(captions), weight=1.0, known=known)
        return [guide.support(row, caption) for row, caption in enumerate(captions)]

    def seen(
        self,
        tokens: Tensor,
        captions: Sequence[str],
        token_mask: Tensor | None = None,
        known: Sequence[Stated] = (),
    ) -> list[float]:
        """Probability of the plane, modality family and organ that each image's caption names: see :func:`seen`."""
        _, fields = self._read(tokens, token_mask, known)
        return seen({name: read.detach().cpu() for name, read in fields.items()}, self.vocabulary, captions)

    def similar(
        self, tokens: Tensor, token_mask: Tensor | None = None, *, count: int = COUNT
    ) -> list[list[SimilarCase]]:
        """The training cases nearest to each image, nearest first; none without an index.

        Args:
            tokens: ``[B, N, C]``; token_mask: ``[B, N]`` or None.
        """
        if self.cases is None:
            return [[] for _ in tokens]
        return self.cases.nearest(mean_token(tokens, token_mask), count)


def mean_token(tokens: Tensor, token_mask: Tensor | None = None) -> Tensor:
    """``[B, N, C] -> [B, C]`` over real tokens, in float32."""
    tokens = tokens.float()
    if token_mask is None:
        return tokens.mean(dim=1)
    real = token_mask.to(tokens)[..., None]
    return (tokens * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)


def export_concept_reader(
    network: ConceptNetwork,
    vocabulary: ConceptVocabulary,
    captions: Sequence[str],
    checkpoint: str | Path,
    path: str | Path,
    fields: Sequence[Mapping[str, str | None] | None] | None = None,
) -> ConceptReader:
    """Make a reader of a finished run of ``configs/tune_general.json``, and write it.

    Args:
        network: built as for that run.
        vocabulary: of the same captions.
        captions: of the training cases.
        checkpoint: the run's ``model.pt``.
        path: the file to write.
        fields: of the training cases, as far as they are known.

    Raises:
        WeightsError: the checkpoint is another network's.
    """
    load_parameters(network, read_state(checkpoint), source=f"concept network {checkpoint}")
    reader = ConceptReader(vocabulary, PooledEncoders([network.encoder]), CaptionPrior.from_captions(captions, fields))
    heads = [network.concepts, *(network.fields[field] for field in vocabulary.fields if field in network.fields)]
    reader.weight.copy_(torch.cat([head.weight.detach() for head in heads]))
    reader.bias.copy_(torch.cat([head.bias.detach() for head in heads]))
    save_concept_reader(reader, path)
    print(f"{path}  {Path(path).stat().st_size / 1e6:.1f} MB")
    return reader


def save_concept_reader(reader: ConceptReader, path: str | Path) -> Path:
    """Write a reader as safetensors, atomically: weights in half precision, names beside.

    Raises:
        InputError: an encoder is none that a file can name.
    """
    vocabulary, members = reader.vocabulary, reader.encoder.members
    for member in members:
        if type(member).__name__ not in _ENCODERS:
            known = ", ".join(_ENCODERS)
            raise InputError(f"a concept reader's encoder is one of {known}, not {type(member).__name__}")
    about = {
        "names": vocabulary.names,
        "fields": vocabulary.fields,
        "longest": vocabulary.longest,
        "encoders": [{"class": type(member).__name__, "input_size": member.input_size} for member in members],
    }
    state = {name: value for name, value in reader.encoder.state_dict().items() if value.is_floating_point()}
    tensors = {"weight": reader.weight, **{f"encoder.{name}": value for name, value in state.items()}}
    halves = {name: value.detach().half().contiguous() for name, value in tensors.items()}
    exact = {"bias": reader.bias.float(), "shares": vocabulary.shares}
    exact |= {} if reader.prior is None else {f"prior.{name}": value for name, value in reader.prior.state().items()}
    return write_sealed_safetensors(path, halves | exact, {"about": json.dumps(about)})


def load_concept_reader(
    path: str | Path, similar_cases: str | Path = "", case_weight: float = 0.0
) -> ConceptReader | None:
    """Read what :func:`save_concept_reader` wrote; None for the path ``""``.

    Args:
        path: the file.
        similar_cases: index of its training cases, see :func:`load_similar_cases`.
        case_weight: see :class:`ConceptReader`.

    Raises:
        WeightsError: the file is absent or damaged.
    """
    if not str(path):
        return None
    remedy = "export one from a run of configs/tune_general.json, or set concept_reader to ''"
    try:
        metadata, state = read_safetensors(path)
        about = json.loads(metadata["about"])
        shares, weight, bias = (state.pop(name).float() for name in ("shares", "weight", "bias"))
        counted = {name: state.pop(name) for name in list(state) if name.startswith("prior.")}
        prior = CaptionPrior.from_state({n.removeprefix("prior."): v for n, v in counted.items()}) if counted else None
        vocabulary = ConceptVocabulary(about["names"], shares=shares, fields=about["fields"], longest=about["longest"])
        members = [_ENCODERS[m["class"]](weights=None, input_size=int(m["input_size"])) for m in about["encoders"]]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} is no concept reader ({error}): {remedy}") from None
    encoder = PooledEncoders(members)
    required = [name for name, value in encoder.state_dict().items() if value.is_floating_point()]
    held = {name.removeprefix("encoder."): value for name, value in state.items()}
    load_parameters(encoder, held, source=str(path), required=required)
    reader = ConceptReader(vocabulary, encoder, prior, load_similar_cases(similar_cases, encoder), case_weight)
    for name, value in (("weight", weight), ("bias", bias)):
        buffer = getattr(reader, name)
        if buffer.shape != value.shape:
            raise WeightsError(f"{path} is damaged: {name} is {tuple(value.shape)}: {remedy}")
        buffer.copy_(finite(value, name, str(path)))
    return reader.eval()
