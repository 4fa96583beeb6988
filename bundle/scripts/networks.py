"""Stage 2 and inference: query states of one or two branches stand as a prefix in front of a frozen language model.

Shape legend: B images, N encoder tokens, C encoder width, Q queries, H Q-Former width, P prefix, D language-model
width, T caption tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .branches import Branch
from .errors import InputError
from .generation import Generated, GenerationOptions, Generator
from .language_model import LanguageModel

if TYPE_CHECKING:
    from .concept_reader import ConceptReader

__all__ = ["CaptionNetwork"]


class CaptionNetwork(nn.Module):
    """Image to caption.

    ``prefix = [general queries | detail queries | prompt]``, each branch's queries through its own Linear. Frozen:
    encoders and language model. Trained: Q-Formers, their queries, token norms, projections.

    Args:
        branches: ``{"general": Branch, "detail": Branch}`` in prefix order, or one of them (``general`` alone is
            BLIP-2, ``detail`` alone SAM-BLIP2).
        language_model: any :class:`LanguageModel`.
        prompt: text between the queries and the caption; not part of the caption.
        options: how captions are generated.
        label_smoothing: of the caption loss.
        concept_reader: ranks the beams of an image again by what the general encoder sees (:mod:`.concept_reader`).
        concept_weight: of the reader beside the language model; 0 leaves the beams' own order.

    Raises:
        InputError: a concept reader without a general branch.
    """

    def __init__(
        self,
        *,
        branches: Mapping[str, Branch],
        language_model: LanguageModel,
        prompt: str = "",
        options: GenerationOptions | None = None,
        label_smoothing: float = 0.0,
        concept_reader: ConceptReader | None = None,
        concept_weight: float = 0.0,
    ) -> None:
        super().__init__()
        if not branches:
            raise ValueError("a caption network needs at least one branch")
        if concept_reader is not None and "general" not in branches:
            raise InputError("a concept reader reads the general branch, which is not there: set concept_reader to ''")
        self.branches = nn.ModuleDict(branches)
        self.projections = nn.ModuleDict(
            {name: nn.Linear(branch.qformer.width, language_model.width) for name, branch in branches.items()}
        )
        self.language_model = language_model
        self.generator = Generator(
            language_model.model,
            eos_token_id=language_model.eos_token_id,
            pad_token_id=language_model.pad_token_id,
            tokenizer=language_model.tokenizer,
        )
        self.prompt = prompt
        self.options = options or GenerationOptions()
        self.label_smoothing = label_smoothing
        self.concept_reader = concept_reader
        self.concept_weight = concept_weight

    @property
    def tokenizer(self) -> object:
        return self.language_model.tokenizer

    def encode(
        self, image: Tensor | None = None, image_mask: Tensor | None = None, **cached: Tensor
    ) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Frozen encoder tokens ``[B, N, C]`` and masks by branch, computed once for any number of captions."""
        return {
            name: branch.tokens(image, image_mask, cached.get(f"{name}_tokens"), cached.get(f"{name}_tokens_mask"))
            for name, branch in self.branches.items()
        }

    def image_prefix(self, encoded: Mapping[str, tuple[Tensor, Tensor | None]]) -> Tensor:
        """``[B, Q * branches, D]`` of encoder tokens by branch."""
        parts = [self.projections[name](branch(*encoded[name])) for name, branch in self.branches.items()]
        return torch.cat(parts, dim=1)

    def prompt_ids(self, prompts: list[str], device: torch.device) -> tuple[Tensor, Tensor]:
        """Token ids ``[B, T]`` and mask of prompts of different lengths, padded on the left."""
        rows = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in prompts]
        longest = max(len(row) for row in rows)
        ids = torch.full((len(rows), longest), self.language_model.pad_token_id, device=device)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            if row:
                ids[index, longest - len(row) :] = torch.tensor(row, device=device)
                mask[index, longest - len(row) :] = 1
        return ids, mask

    def prefix(
        self, encoded: Mapping[str, tuple[Tensor, Tensor | None]], prompts: str | list[str] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Embeddings ``[B, P, D]`` and mask ``[B, P]`` of what stands before the captions."""
        images = self.image_prefix(encoded)
        batch, device = images.shape[0], images.device
        prompts = self.prompt if prompts is None else prompts
        prompts = [prompts] * batch if isinstance(prompts, str) else list(prompts)
        ids, mask = self.prompt_ids(prompts, device)
        image_mask = torch.ones(batch, images.shape[1], dtype=mask.dtype, device=device)
        embeddings = torch.cat([images, self.language_model.embed(ids).to(images.dtype)], dim=1)
        mask = torch.cat([image_mask, mask], dim=1)
        if bool(mask.all()):
            return embeddings, mask
        # Prompts of different lengths: move the padding in front of the queries, where language models expect it.
        order = mask.argsort(dim=1, stable=True)
        return embeddings.gather(1, order[..., None].expand_as(embeddings)), mask.gather(1, order)

    @torch.no_grad()
    def generate(
        self,
        encoded: Mapping[str, tuple[Tensor, Tensor | None]],
        *,
        prompts: str | list[str] | None = None,
        options: GenerationOptions | None = None,
    ) -> Generated:
        """Captions of encoded images; see :class:`Generated`."""
        prefix = self.prefix(encoded, prompts)
        return self.write(prefix, encoded, prompts=prompts, options=options)

    @torch.no_grad()
    def write(
        self,
        prefix: tuple[Tensor, Tensor],
        encoded: Mapping[str, tuple[Tensor, Tensor | None]],
        *,
        prompts: str | list[str] | None = None,
        options: GenerationOptions | None = None,
    ) -> Generated:
        """Captions after the ``prefix`` of ``encoded`` images, as :meth:`prefix` gave it.

        With a concept reader and one caption wanted of several beams, the reader has a say in which.
        """
        options = options or self.options
        embeddings, mask = prefix
        embeddings = embeddings.to(self.language_model.dtype)
        ranked = self.concept_reader is not None and self.concept_weight > 0
        if not ranked or options.num_beams == 1 or options.num_return > 1 or options.do_sample:
            return self.generator.generate(embeddings, mask, options)
        made = self.generator.generate(embeddings, mask, replace(options, num_return=options.num_beams))
        captions = self._with_prompts(made.token_ids, prompts, each=options.num_beams)
        return self.concept_reader.best_of(made, captions, *encoded["general"], weight=self.concept_weight)

    def _with_prompts(self, token_ids: Tensor, prompts: str | list[str] | None, each: int = 1) -> list[str]:
        """Texts of captions ``[B * each, T]`` with the words that they continue."""
        prompts = self.prompt if prompts is None else prompts
        texts = self.tokenizer.batch_decode(token_ids, skip_special_tokens=True)
        begun = [prompts if isinstance(prompts, str) else prompts[row // each] for row in range(len(texts))]
        return [start + text for start, text in zip(begun, texts, strict=True)]

    def support(
        self,
        encoded: Mapping[str, tuple[Tensor, Tensor | None]],
        token_ids: Tensor,
        prompts: str | list[str] | None = None,
    ) -> list[float] | None:
        """How far the images bear their captions ``[B, T]`` out: log-probability of plane, modality and organ.

        None without a concept reader, or where an image has several captions.
        """
        tokens, mask = encoded.get("general", (None, None))
        if self.concept_reader is None or len(tokens) != len(token_ids):
            return None
        return self.concept_reader.support(tokens, self._with_prompts(token_ids, prompts), mask)

    def decode(self, token_ids: Tensor) -> list[str]:
        """Texts of generated ids ``[B, T]``."""
        return [text.strip() for text in self.tokenizer.batch_decode(token_ids, skip_special_tokens=True)]

    def forward(
        self,
        image: Tensor | None = None,
        image_mask: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **cached: Tensor,
    ) -> dict[str, Tensor] | Tensor:
        """Caption loss where a caption is given, captions where none is.

        Args:
            image: ``[B, 3, H, W]`` in [0, 1], or ``[B, V, 3, H, W]`` with ``image_mask`` ``[B, V]``.
            input_ids: caption token ids with their end token ``[B, T]``; attention_mask: ``[B, T]``.
            cached: ``general_tokens`` ``[B, N, C]`` and so on, instead of images.

        Returns:
            ``{"loss": scalar}`` with ``input_ids``; else token ids ``[B, max_new_tokens]``, padded.
        """
        encoded = self.encode(image, image_mask, **cached)
        if input_ids is None:
            return self.generate(encoded).token_ids
        embeddings, mask = self.prefix(encoded)
        loss = self.language_model.loss(embeddings, mask, input_ids, attention_mask, self.label_smoothing)
        return {"loss": loss}
