"""Stage 2 and inference: query states of one or two branches stand as a prefix in front of a frozen language model.

Shape legend: B images, N encoder tokens, C encoder width, Q queries, H Q-Former width, P prefix, D language-model
width, T caption tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import torch
from torch import Tensor, nn

from scripts.errors import NOT_EXPORTED, InputError
from scripts.generation import Generated, GenerationOptions, Generator
from scripts.generation.options import Watch
from scripts.given_values import switch
from scripts.networks.agreeing import Composer, agreeing
from scripts.networks.branch import Branch, encoder_tokens, token_names
from scripts.networks.language_model import LanguageModel
from scripts.networks.lora import ADAPTER_NAMES, ALPHA_NAMES
from scripts.networks.losses import sameness
from scripts.networks.prompts import Prompt, continued, refuse_long
from scripts.weights.whole import take_trained

if TYPE_CHECKING:
    from scripts.concepts.familiarity import Familiarity
    from scripts.concepts.guide import ConceptGuide
    from scripts.concepts.reader import ConceptReader
    from scripts.concepts.similar_cases import SimilarCase
    from scripts.concepts.stated import Stated


class CaptionNetwork(nn.Module):
    """Image to caption.

    ``prefix = [general queries | detail queries | prompt]``, each branch's queries through its own Linear. Frozen:
    encoders and language model. Trained: Q-Formers, their queries, token norms, projections.

    Args:
        branches: ``{"general": Branch, "detail": Branch}`` in prefix order, or one of them (``general`` alone is
            BLIP-2, ``detail`` alone SAM-BLIP2).
        language_model: any :class:`LanguageModel`.
        prompt: text between the queries and what is written.
        prompt_is_text: whether ``prompt`` is the beginning of the caption, to be read with what follows; a question
            to the model is not. Prompts that are given with an image always are.
        options: how captions are generated.
        label_smoothing: of the caption loss.
        sameness_weight: of what a branch's queries have in common (:func:`.losses.sameness`), beside the caption loss
            while the network is trained; 0 leaves it out, as in the paper.
        concept_reader: guides the beams of an image by what it reads in it (:mod:`.concept_reader`).
        concept_weight: of the reader beside the language model; 0 leaves the beams to the language model.
        prior_weight: how much of a caption's commonness among the reader's training captions is taken off.
        familiarity: says which images do not look like those the reader knows; None takes any.
    """

    def __init__(
        self,
        *,
        branches: Mapping[str, Branch],
        language_model: LanguageModel,
        prompt: str = "",
        prompt_is_text: bool = True,
        options: GenerationOptions | None = None,
        label_smoothing: float = 0.0,
        sameness_weight: float = 0.0,
        concept_reader: ConceptReader | None = None,
        concept_weight: float = 0.0,
        prior_weight: float = 0.0,
        familiarity: Familiarity | None = None,
    ) -> None:
        super().__init__()
        if not branches:
            raise ValueError("a caption network needs at least one branch")
        self.branches = nn.ModuleDict(branches)
        self.projections = nn.ModuleDict(
            {name: language_model.projection_from(branch.qformer.width) for name, branch in branches.items()}
        )
        self.language_model = language_model
        self.generator = Generator(
            language_model.model,
            eos_token_id=language_model.eos_token_id,
            pad_token_id=language_model.pad_token_id,
            tokenizer=language_model.tokenizer,
            suppress_tokens=language_model.marks,
        )
        self.prompt = Prompt(prompt, bool(switch(prompt_is_text)))
        self.options = options or GenerationOptions()
        self.label_smoothing = label_smoothing
        self.sameness_weight = sameness_weight
        self.concept_reader = concept_reader
        self.concept_weight = concept_weight
        self.prior_weight = prior_weight
        self.familiarity = familiarity
        take_trained(self, has_already=ADAPTER_NAMES if language_model.adapted else "", may_miss=ALPHA_NAMES)

    def __prepare_scriptable__(self) -> NoReturn:
        """``torch.jit.script`` asks this first, and so do MONAI's export commands."""
        raise InputError(NOT_EXPORTED)

    @property
    def tokenizer(self) -> object:
        return self.language_model.tokenizer

    @property
    def encoders(self) -> dict[str, nn.Module]:
        """Frozen encoders by the names that their tokens have: those of the branches, and the concept reader's."""
        encoders = {name: branch.encoder for name, branch in self.branches.items()}
        return encoders | ({} if self.concept_reader is None else {"reader": self.concept_reader.encoder})

    @property
    def batch_names(self) -> tuple[str, ...]:
        """What :meth:`forward` takes from a batch besides ``image``."""
        return ("image_mask", "input_ids", "attention_mask", *token_names(self.encoders))

    def encode(
        self, image: Tensor | None = None, image_mask: Tensor | None = None, **cached: Tensor
    ) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Frozen encoder tokens ``[B, N, C]`` and masks by name, computed once for any number of captions."""
        return {
            name: encoder_tokens(
                encoder, image, image_mask, cached.get(f"{name}_tokens"), cached.get(f"{name}_tokens_mask")
            )
            for name, encoder in self.encoders.items()
        }

    def strange(self, encoded: Mapping[str, tuple[Tensor, Tensor | None]]) -> list[bool]:
        """Whether each image looks unlike all that the network knows."""
        if self.familiarity is None or "reader" not in encoded:
            return [False] * len(next(iter(encoded.values()))[0])
        return self.familiarity.strange(*encoded["reader"]).tolist()

    def image_prefix(self, encoded: Mapping[str, tuple[Tensor, Tensor | None]]) -> Tensor:
        """``[B, Q * branches, D]`` of encoder tokens by branch."""
        return self._projected(self.query_states(encoded))

    def query_states(self, encoded: Mapping[str, tuple[Tensor, Tensor | None]]) -> dict[str, Tensor]:
        """What each branch's queries say of the images, ``[B, Q, H]`` by name."""
        return {name: branch(*encoded[name]) for name, branch in self.branches.items()}

    def _projected(self, states: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([self.projections[name](queries) for name, queries in states.items()], dim=1)

    def prompt_ids(self, prompts: list[str], device: torch.device) -> tuple[Tensor, Tensor]:
        """Token ids ``[B, T]`` and mask of prompts of different lengths, padded on the left.

        Raises:
            InputError: a prompt is too long.
        """
        rows = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in prompts]
        longest = max(len(row) for row in rows)
        refuse_long(longest)
        ids = torch.full((len(rows), longest), self.language_model.pad_token_id, device=device)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            if row:
                ids[index, longest - len(row) :] = torch.tensor(row, device=device)
                mask[index, longest - len(row) :] = 1
        return ids, mask

    def prompts_of(self, given: str | Sequence[str] | None, images: int) -> list[Prompt]:
        """The prompt of each image: of texts that a caller gave, one for all or one each, or the network's own.

        A given text that is the network's own question stays a question.
        """
        texts = [given] * images if isinstance(given, str) else given
        if texts is None:
            return [self.prompt] * images
        return [self.prompt if text == self.prompt.text else Prompt(text) for text in texts]

    def prefix(
        self, encoded: Mapping[str, tuple[Tensor, Tensor | None]], prompts: Sequence[Prompt] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Embeddings ``[B, P, D]`` and mask ``[B, P]`` of what stands before the captions."""
        return self._with_prompts(self.image_prefix(encoded), prompts)

    def _with_prompts(self, images: Tensor, prompts: Sequence[Prompt] | None = None) -> tuple[Tensor, Tensor]:
        """:meth:`prefix` of images ``[B, Q * branches, D]``."""
        batch, device = images.shape[0], images.device
        ids, mask = self.prompt_ids([prompt.text for prompt in prompts or [self.prompt] * batch], device)
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
        prompts: Sequence[Prompt] | None = None,
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
        prompts: Sequence[Prompt] | None = None,
        options: GenerationOptions | None = None,
        known: Sequence[Stated] = (),
        watch: Watch | None = None,
        all_beams: bool = False,
    ) -> Generated:
        """Captions after the ``prefix`` of ``encoded`` images, as :meth:`prefix` gave it; ``watch`` sees each step.

        With a concept reader, beams are guided by what it reads in the images. However they are decoded, captions do
        not contradict what is ``known`` of each image from its file (`agreeing`). With ``all_beams`` the other finished
        beams of an image come after those asked for: what else was likely is evidence of how sure a caption is.
        """
        options = options or self.options
        prompts = prompts or [self.prompt] * len(prefix[0])
        guide = None
        if self.concept_reader is not None and self.concept_weight > 0 and options.num_beams > 1:
            guide = None if options.do_sample else self._guide(encoded, [prompt.given for prompt in prompts], known)
        embeddings, mask = prefix[0].to(self.language_model.dtype), prefix[1]
        several = options if options.num_beams == 1 else replace(options, num_return=options.num_beams)
        if not any(known):
            return self.generator.generate(embeddings, mask, several if all_beams else options, guide, watch)
        made = self.generator.generate(embeddings, mask, several, guide, watch)
        rows = several.num_return if all_beams else options.num_return
        composer = Composer(self, (embeddings, mask), encoded, known, prompts, options.num_return, rows)
        return agreeing(made, self.captions(made.token_ids, prompts), known, prompts, composer)

    def _guide(
        self,
        encoded: Mapping[str, tuple[Tensor, Tensor | None]],
        starts: Sequence[str],
        known: Sequence[Stated],
    ) -> ConceptGuide:
        decode = partial(self.tokenizer.batch_decode, skip_special_tokens=True)
        weights = {"weight": self.concept_weight, "prior_weight": self.prior_weight, "known": known}
        return self.concept_reader.guide(*encoded["reader"], decode=decode, starts=starts, **weights)

    def captions(self, token_ids: Tensor, prompts: Sequence[Prompt] | None = None) -> list[str]:
        """What is to be read: given words and, after them, those of generated ids ``[B, T]``.

        Args:
            token_ids: of as many captions for each prompt.
            prompts: of the images; the network's own by default.
        """
        prompts = prompts or [self.prompt]
        given = [prompt.given for prompt in prompts for _ in range(len(token_ids) // len(prompts))]
        return [
            continued(start, ids, self.tokenizer) if start else text
            for start, ids, text in zip(given, token_ids.tolist(), self.decode(token_ids), strict=True)
        ]

    def support(
        self,
        encoded: Mapping[str, tuple[Tensor, Tensor | None]],
        token_ids: Tensor,
        prompts: Sequence[Prompt] | None = None,
        known: Sequence[Stated] = (),
    ) -> list[float] | None:
        """How far the images bear their captions ``[B, T]`` out: log-probability of plane, modality and organ.

        None without a concept reader, or where an image has several captions.
        """
        if self.concept_reader is None or len(encoded["reader"][0]) != len(token_ids):
            return None
        tokens, mask = encoded["reader"]
        return self.concept_reader.support(tokens, self.captions(token_ids, prompts), mask, known)

    def seen(
        self,
        encoded: Mapping[str, tuple[Tensor, Tensor | None]],
        captions: Sequence[str],
        known: Sequence[Stated] = (),
    ) -> list[float | None]:
        """What the concept reader sees of each image's caption, see :meth:`ConceptReader.seen`; None without one."""
        if self.concept_reader is None:
            return [None] * len(captions)
        tokens, mask = encoded["reader"]
        return self.concept_reader.seen(tokens, captions, mask, known)

    def similar(self, encoded: Mapping[str, tuple[Tensor, Tensor | None]]) -> list[list[SimilarCase]]:
        """The training cases nearest to each image, as far as the concept reader has an index of them."""
        if self.concept_reader is None:
            return [[] for _ in next(iter(encoded.values()))[0]]
        return self.concept_reader.similar(*encoded["reader"])

    def decode(self, token_ids: Tensor) -> list[str]:
        """Texts of generated ids ``[B, T]``, without the words of a prompt: see :meth:`captions`."""
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
            ``{"loss": scalar}`` with ``input_ids``, and what ``sameness_weight`` adds to it in training, by branch
            (``general_sameness``); else token ids ``[B, max_new_tokens]``, padded.

        Raises:
            InputError: it is being traced for an export.
        """
        if torch.jit.is_tracing():
            raise InputError(NOT_EXPORTED)
        encoded = self.encode(image, image_mask, **cached)
        if input_ids is None:
            return self.generate(encoded).token_ids
        states = self.query_states(encoded)
        embeddings, mask = self._with_prompts(self._projected(states))
        loss = self.language_model.loss(embeddings, mask, input_ids, attention_mask, self.label_smoothing)
        if not (self.training and self.sameness_weight):
            return {"loss": loss}  # a validation's is that of the captions, whatever the weight
        alike = {f"{name}_sameness": sameness(queries) for name, queries in states.items()}
        return {"loss": loss + self.sameness_weight * sum(alike.values()), **alike}
