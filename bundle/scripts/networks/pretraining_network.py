"""Stage 1, mixed-semantic pre-training: each branch learns ITC + ITM + ITG on its own.

Shape legend: B pairs, Q queries, T text tokens, H Q-Former width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scripts.distributed import gather, gather_with_gradient, pad_to_common_length, pad_tokens_to_common_length, rank
from scripts.networks.branch import Branch, encoder_tokens, token_names
from scripts.networks.grad_cache import in_chunks
from scripts.networks.losses import (
    ImageGroundedGeneration,
    ImageTextContrast,
    ImageTextMatching,
    matching_mask,
    packed_mask,
    same_text,
    sameness,
)
from scripts.networks.pair_memory import PairMemory
from scripts.networks.qformer import EncoderMemory
from scripts.weights.whole import take_trained

OBJECTIVES = {"itc": 1.0, "itm": 1.0, "itg": 1.0, "sameness": 0.0}  # weights of the paper


def _concatenate(memories: list[EncoderMemory]) -> EncoderMemory:
    """One memory of several, along the batch."""
    first = memories[0]
    return EncoderMemory(
        tokens=torch.cat([memory.tokens for memory in memories]),
        mask=None if first.mask is None else torch.cat([memory.mask for memory in memories]),
        projected={
            layer: tuple(torch.cat([memory.projected[layer][i] for memory in memories]) for i in (0, 1))
            for layer in first.projected
        },
        affine=first.affine,
    )


@dataclass
class Scored:
    """What both passes over B pairs gave.

    Attributes:
        losses: ``itc``, ``itm``, ``itg``.
        queries: states ``[B, Q, H]`` of the queries before any projection.
        images: unit vectors ``[B, Q, E]``; texts: ``[B, E]``.
        matching: ITM logits ``[3, B, 2]`` of right pairs, pairs with a wrong image, pairs with a wrong text.
        has_negative: ``[B]`` bool, False where the latter two are no wrong pairs.
    """

    losses: dict[str, Tensor]
    queries: Tensor
    images: Tensor
    texts: Tensor
    matching: Tensor
    has_negative: Tensor


class PretrainingBranch(nn.Module):
    """A branch with the three objectives on top.

    Two passes give the three losses: one over ``[queries | text to generate | text to contrast]`` for ITC and ITG,
    one over ``[queries | text]`` of right and wrong pairs for ITM. Losses and gradients equal those of the published
    four-pass form; keys and values of the encoder tokens are projected once.

    Args:
        branch: encoder, token preparation and a Q-Former with its text path.
        decoder_token_id: the added ``[DEC]`` token that replaces the first token of a text to generate.
        embedding, temperature, learn_temperature, label_smoothing, query_pool, text_pool, hard_negatives: see
            the objectives.
        duplicates_are_positives: captions that are equal token for token count as right for one another; else only
            the diagonal does, as published.
        contrastive_chunk: above 0, activations exist for so many pairs at a time whatever the batch size
            (:mod:`.grad_cache`): same losses and gradients, one more forward pass.
        remembered_pairs: of earlier batches, which stay as further wrong partners for ITC (:mod:`.pair_memory`).
        seed: of the hard-negative draws.
    """

    def __init__(
        self,
        *,
        branch: Branch,
        decoder_token_id: int,
        embedding: int = 256,
        temperature: float = 0.07,
        label_smoothing: float = 0.1,
        learn_temperature: bool = True,
        query_pool: str = "max",
        text_pool: str = "first",
        hard_negatives: bool = True,
        duplicates_are_positives: bool = False,
        contrastive_chunk: int = 0,
        remembered_pairs: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        width = branch.qformer.width
        vocabulary = branch.qformer.word_embeddings.num_embeddings
        self.branch = branch
        self.decoder_token_id = decoder_token_id
        self.duplicates_are_positives = duplicates_are_positives
        self.contrastive_chunk = contrastive_chunk
        self.contrast = ImageTextContrast(
            width=width,
            embedding=embedding,
            temperature=temperature,
            label_smoothing=label_smoothing,
            learn_temperature=learn_temperature,
            query_pool=query_pool,
            text_pool=text_pool,
        )
        self.memory = None
        if remembered_pairs > 0:
            self.memory = PairMemory(
                size=remembered_pairs,
                queries=branch.qformer.query_count if query_pool == "max" else 1,
                embedding=embedding,
                duplicates_are_positives=duplicates_are_positives,
            )
        self.matching = ImageTextMatching(width=width, seed=seed, hard_negatives=hard_negatives)
        self.generation = ImageGroundedGeneration(width=width, vocabulary=vocabulary, label_smoothing=label_smoothing)

    def positives(self, input_ids: Tensor) -> Tensor:
        """``[B, G]`` bool: which of all processes' captions are right for this process's images."""
        batch = input_ids.shape[0]
        if self.duplicates_are_positives:
            return same_text(input_ids, gather(input_ids))
        total = gather(input_ids[:, :1]).shape[0]
        own = torch.arange(batch, device=input_ids.device) + rank() * batch
        return own[:, None] == torch.arange(total, device=input_ids.device)[None]

    def embed_images(self, memory: EncoderMemory) -> Tensor:
        """Unit vectors ``[B, Q, E]`` for retrieval."""
        return self.contrast.embed_image(self.branch.qformer(memory))

    def embed_texts(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Unit vectors ``[B, E]`` for retrieval, from ``[B, T]``."""
        mask = attention_mask.bool()[:, None, None, :]
        rows = self.contrast.text_rows(input_ids.shape[1])
        hidden = self.branch.qformer(texts=(input_ids,), mask=mask, use_queries=False, rows=rows)
        return self.contrast.embed_text(hidden, attention_mask)

    def match(self, memory: EncoderMemory, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """ITM states ``[B, Q, H]`` of pairs (image i, text i)."""
        queries = self.branch.qformer.query_count
        mask = matching_mask(queries, attention_mask)
        return self.branch.qformer(memory, texts=(input_ids,), mask=mask, rows=queries)

    def forward(
        self, tokens: Tensor, token_mask: Tensor | None, input_ids: Tensor, attention_mask: Tensor
    ) -> dict[str, Tensor]:
        """The losses ``itc``, ``itm``, ``itg`` of B pairs.

        Args:
            tokens: frozen encoder tokens ``[B, N, C]``; token_mask: ``[B, N]`` or None.
            input_ids: ``[B, T]``, first token ``[CLS]``.
            attention_mask: ``[B, T]``.
        """
        return self.score(tokens, token_mask, input_ids, attention_mask).losses

    def score(self, tokens: Tensor, token_mask: Tensor | None, input_ids: Tensor, attention_mask: Tensor) -> Scored:
        """Losses of B pairs, and what retrieval is measured with; arguments as in :meth:`forward`."""
        chunk = self.contrastive_chunk if 0 < self.contrastive_chunk < len(input_ids) else 0
        memory = None if chunk else self.branch.project(tokens, token_mask)
        own = (tokens, token_mask, input_ids, attention_mask)
        if memory is not None:
            states, images, texts, written = self._read(memory, input_ids, attention_mask)
        else:
            states, images, texts, written = in_chunks(self._read_chunk, own, chunk)
        positives = self.positives(input_ids)
        itc, image_to_text, text_to_image = self._contrast(images, texts, positives, input_ids, attention_mask)
        itg = written.sum() / self.generation.token_count(attention_mask)
        wrong_image, wrong_text = self.matching.draw(image_to_text, text_to_image, positives)
        wrong_ids, wrong_mask = gather(input_ids)[wrong_text], gather(attention_mask)[wrong_text]
        if memory is not None:
            wrong = self._memory_of(wrong_image, memory, tokens, token_mask)
            logits = self._match(memory, wrong, input_ids, attention_mask, wrong_ids, wrong_mask)
        else:
            wrong_tokens = gather_with_gradient(tokens)[wrong_image]
            wrong_token_mask = None if token_mask is None else gather(token_mask)[wrong_image]
            others = (wrong_tokens, wrong_token_mask, wrong_ids, wrong_mask)
            (logits,) = in_chunks(self._match_chunk, (*own, *others), chunk)
        has_negative = ~positives.all(dim=1)
        matching = logits.transpose(0, 1)
        itm = self.matching(matching.flatten(0, 1), has_negative)
        return Scored({"itc": itc, "itm": itm, "itg": itg}, states, images, texts, matching, has_negative)

    def _contrast(
        self, images: Tensor, texts: Tensor, positives: Tensor, input_ids: Tensor, attention_mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """ITC; against remembered pairs, too, while the branch learns. Validation losses do without, to compare."""
        if self.memory is None or not self.training:
            return self.contrast(images, texts, positives)
        remembered = self.memory.partners(input_ids, attention_mask)
        self.memory.keep(images, texts, input_ids, attention_mask)
        return self.contrast(images, texts, positives, remembered)

    def _read(self, memory: EncoderMemory, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """The pass for ITC and ITG: states ``[B, Q, H]``, vectors ``[B, Q, E]`` and ``[B, E]``, ITG's sum ``[1]``."""
        qformer = self.branch.qformer
        queries, length = qformer.query_count, input_ids.shape[1]
        to_generate = input_ids.clone()
        to_generate[:, 0] = self.decoder_token_id
        mask = packed_mask(queries, attention_mask)
        rows = queries + length + self.contrast.text_rows(length)
        hidden = qformer(memory, texts=(to_generate, input_ids), mask=mask, rows=rows)
        states = hidden[:, :queries]
        images = self.contrast.embed_image(states)
        texts = self.contrast.embed_text(hidden[:, queries + length :], attention_mask)
        generated = hidden[:, queries : queries + length]
        written = self.generation.total(generated, input_ids, attention_mask, qformer.word_embeddings.weight)
        return states, images, texts, written[None]

    def _match(
        self,
        memory: EncoderMemory,
        wrong: EncoderMemory,
        ids: Tensor,
        mask: Tensor,
        wrong_ids: Tensor,
        wrong_mask: Tensor,
    ) -> Tensor:
        """The pass for ITM over right pairs, pairs with a wrong image, pairs with a wrong text: ``[B, 3, 2]``."""
        texts, masks = torch.cat([ids, ids, wrong_ids]), torch.cat([mask, mask, wrong_mask])
        states = self.match(_concatenate([memory, wrong, memory]), texts, masks)
        return self.matching.logits(states).unflatten(0, (3, -1)).transpose(0, 1)

    def _read_chunk(self, tokens: Tensor, token_mask: Tensor | None, *texts: Tensor) -> tuple[Tensor, ...]:
        return self._read(self.branch.project(tokens, token_mask), *texts)

    def _match_chunk(self, *parts: Tensor | None) -> tuple[Tensor]:
        tokens, token_mask, ids, mask, wrong_tokens, wrong_token_mask, wrong_ids, wrong_mask = parts
        memory = self.branch.project(tokens, token_mask)
        wrong = self.branch.project(wrong_tokens, wrong_token_mask)
        return (self._match(memory, wrong, ids, mask, wrong_ids, wrong_mask),)

    def _memory_of(
        self, index: Tensor, memory: EncoderMemory, tokens: Tensor, token_mask: Tensor | None
    ) -> EncoderMemory:
        """That of the images named by their global ``index`` ``[B]``; other processes' tokens are prepared here."""
        all_tokens = gather_with_gradient(tokens)  # an encoder that learns does so from wrong pairs, too
        if all_tokens is tokens:
            return memory.select(index)
        all_mask = None if token_mask is None else gather(token_mask)
        return self.branch.project(all_tokens[index], None if all_mask is None else all_mask[index])


class PretrainingNetwork(nn.Module):
    """Stage-1 network: one or two independent branches, losses summed.

    Args:
        branches: ``{"general": PretrainingBranch, "detail": PretrainingBranch}``, or one of them.
        weights: of ``itc``, ``itm``, ``itg`` (1 each, as in the paper) and ``sameness`` (no part of the
            paper: 0 leaves it out).
    """

    def __init__(
        self, *, branches: Mapping[str, PretrainingBranch], weights: Mapping[str, float] | None = None
    ) -> None:
        super().__init__()
        unknown = set(weights or {}) - set(OBJECTIVES)
        if unknown:
            raise ValueError(f"unknown objectives {sorted(unknown)}; the weights are of {', '.join(OBJECTIVES)}")
        self.branches = nn.ModuleDict(branches)
        self.weights = OBJECTIVES | {name: float(weight) for name, weight in (weights or {}).items()}
        self.learning = tuple(self.branches)
        take_trained(self)

    @property
    def batch_names(self) -> tuple[str, ...]:
        """What :meth:`forward` takes from a batch besides ``image``."""
        return ("image_mask", "input_ids", "attention_mask", *token_names(self.branches))

    def learn(self, names: list[str] | None) -> None:
        """Let only the named branches learn (a phase of mixed-semantic pre-training); None means all.

        In evaluation all branches count whichever learn, so that validation losses of different phases compare.
        """
        unknown = set(names or ()) - set(self.branches)
        if unknown:
            raise ValueError(f"no branch named {sorted(unknown)}; there are {sorted(self.branches)}")
        self.learning = tuple(self.branches) if names is None else tuple(n for n in self.branches if n in names)

    def forward(
        self,
        image: Tensor | None = None,
        image_mask: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **cached: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of B pairs.

        Args:
            image: ``[B, 3, H, W]`` in [0, 1], or ``[B, V, 3, H, W]`` with ``image_mask`` ``[B, V]``.
            input_ids: ``[B, T]``; attention_mask: ``[B, T]``.
            cached: ``general_tokens`` ``[B, N, C]``, ``general_tokens_mask`` and so on, instead of images.

        Returns:
            ``{"loss": sum, "general_itc": ..., "general_itm": ..., ...}``, scalars.
        """
        scored = self._score(image, image_mask, input_ids, attention_mask, **cached)
        return self._losses(scored)

    def score_pairs(
        self,
        image: Tensor | None = None,
        image_mask: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **cached: Tensor,
    ) -> dict[str, Tensor]:
        """What validation looks at: the losses of :meth:`forward`, and per branch

        ``general_images`` ``[B, Q, E]`` and ``general_texts`` ``[B, E]`` (unit vectors for retrieval),
        ``general_matches`` ``[B, 3]``: the probability that ITM gives to the right pair, to one with a wrong image and
        to one with a wrong text, NaN where the batch had no wrong partner; ``general_queries`` ``[B, Q, H]``: the
        states that stage 2 goes on from; ``general_temperature``: of ITC.
        """
        scored = self._score(image, image_mask, input_ids, attention_mask, **cached)
        result = self._losses(scored)
        for name, pairs in scored.items():
            probability = pairs.matching.float().softmax(-1)[..., 1].T.clone()
            probability[~pairs.has_negative, 1:] = float("nan")
            result |= {f"{name}_images": pairs.images, f"{name}_texts": pairs.texts, f"{name}_matches": probability}
            temperature = self.branches[name].contrast.temperature.detach()
            result |= {f"{name}_queries": pairs.queries.detach(), f"{name}_temperature": temperature}
        return result

    def _score(
        self,
        image: Tensor | None,
        image_mask: Tensor | None,
        input_ids: Tensor,
        attention_mask: Tensor,
        **cached: Tensor,
    ) -> dict[str, Scored]:
        input_ids, attention_mask = pad_to_common_length(input_ids), pad_to_common_length(attention_mask)
        scored = {}
        for name in self.learning if self.training else self.branches:
            module = self.branches[name]
            held = cached.get(f"{name}_tokens"), cached.get(f"{name}_tokens_mask")
            tokens, mask = encoder_tokens(module.branch.encoder, image, image_mask, *held)
            tokens, mask = pad_tokens_to_common_length(tokens, mask)
            scored[name] = module.score(tokens, mask, input_ids, attention_mask)
        return scored

    def _losses(self, scored: Mapping[str, Scored]) -> dict[str, Tensor]:
        losses = {f"{name}_{key}": value for name, pairs in scored.items() for key, value in pairs.losses.items()}
        if self.weights["sameness"]:
            losses |= {f"{name}_sameness": sameness(pairs.queries) for name, pairs in scored.items()}
        total = sum(self.weights[key.rsplit("_", 1)[1]] * value for key, value in losses.items())
        return {"loss": total, **losses}
