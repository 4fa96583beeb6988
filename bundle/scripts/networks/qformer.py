"""Q-Former: learned queries that read a frozen encoder's tokens, beside a text path that shares their self-attention.

One stack of BERT-style post-norm layers serves queries and text. Every layer has one self-attention for both, a
feed-forward block for queries and another for text; every ``cross_attention_every``-th layer lets the *queries*
attend the encoder tokens. Which position may see which is decided by a boolean mask, so the three stage-1 objectives
are three masks over the same weights. Source: BLIP-2 (Li et al., ICML 2023, arXiv 2301.12597, section 3.1).

Shape legend: B images, N encoder tokens of width C, Q queries, T text tokens, S sequence, H hidden, h heads, d = H / h.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scripts.kernels.attention import attend, autocast_type
from scripts.kernels.dropout import drop


@dataclass
class EncoderMemory:
    """What cross-attention reads: encoder tokens, and their keys and values where they were projected once.

    Attributes:
        tokens: encoder tokens ``[B, N, C]``.
        mask: ``[B, N]`` bool, True where a token is real; None when all are.
        projected: per cross-attending layer ``(keys, values)``, each ``[B, h, N, d]``; empty in the absorbed form.
        affine: scale and shift ``[C]`` that ``tokens`` still need and ``projected`` has (:meth:`Attention.project`).
    """

    tokens: Tensor
    mask: Tensor | None
    projected: dict[int, tuple[Tensor, Tensor]]
    affine: tuple[Tensor, Tensor] | None = None

    def select(self, index: Tensor) -> EncoderMemory:
        """That of the images named by ``index`` ``[M]`` (repeats allowed), without projecting anything again."""
        return EncoderMemory(
            tokens=self.tokens[index],
            mask=None if self.mask is None else self.mask[index],
            projected={layer: (keys[index], values[index]) for layer, (keys, values) in self.projected.items()},
            affine=self.affine,
        )


class Attention(nn.Module):
    """Multi-head attention with BERT's residual and post-norm; keys and values may come from another width.

    Args:
        width: hidden size H.
        heads: number of heads h.
        memory_width: width of what is attended; None for self-attention.
        dropout: on the output projection and on the attention weights.
        absorbed: for cross-attention, fold the key projection into the queries and apply the value projection after
            the weighted sum. Then the raw tokens act as keys and values: same parameters, same result (the key bias
            cancels in the softmax, the value bias passes through), fewer operations when N is much larger than Q.
    """

    def __init__(
        self,
        *,
        width: int,
        heads: int,
        memory_width: int | None = None,
        dropout: float = 0.1,
        eps: float = 1e-12,
        absorbed: bool = False,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"hidden size {width} is not a multiple of {heads} heads")
        self.heads = heads
        self.absorbed = absorbed
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(memory_width or width, width)
        self.value = nn.Linear(memory_width or width, width)
        self.output = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=eps)

    def widen(self) -> None:
        """Draw key, value and output projections from N(0, 1/sqrt(inputs)) instead of N(0, 0.02).

        With 0.02, attention over narrow encoder tokens (256) starts as their average and adds a hundredth of the
        variance to the queries: all images look alike beneath the dropout, and contrast stays at chance for hundreds
        of steps. Measured on the starter's detail branch, ITC alone, batches of 24, mean of steps 125 to 150: 2.90
        with wide keys and values only, 2.44 with a wide output too (chance is 3.18).
        """
        for projection in (self.key, self.value, self.output):
            nn.init.normal_(projection.weight, std=projection.in_features**-0.5)

    def split(self, x: Tensor) -> Tensor:
        """``[B, S, H] -> [B, h, S, d]``."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def project(self, memory: Tensor, affine: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Keys and values ``[B, h, N, d]`` of ``memory`` ``[B, N, C]``, or of ``memory * affine[0] + affine[1]``.

        With ``affine`` (each ``[C]``) the weights are scaled instead, ``W (x * g + b) = (W * g) x + W b``: training
        ``g`` and ``b`` then takes no gradient of every token, which is a third of the products of this projection.
        """
        return tuple(self.split(_linear_after(projection, memory, affine)) for projection in (self.key, self.value))

    def forward(
        self, hidden: Tensor, keys_values: tuple[Tensor, Tensor] | Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """``hidden [B, S, H]`` attends ``keys_values`` (projected pair, or raw tokens ``[B, N, C]`` when absorbed)."""
        query = self.split(self.query(hidden))
        dropout = self.dropout if self.training else 0.0
        if isinstance(keys_values, Tensor):
            context = self._attend_absorbed(query, keys_values, mask, dropout)
        else:
            keys, values = keys_values
            context = attend(query, keys, values, mask, dropout=dropout)
        context = self.output(context.transpose(1, 2).flatten(2))
        return self.norm(drop(context, self.dropout, self.training) + hidden)

    def _attend_absorbed(self, query: Tensor, tokens: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
        """Attention over raw tokens: ``[B, h, S, d] x [B, N, C] -> [B, h, S, d]``."""
        scale = query.shape[-1] ** -0.5
        key_weight = self.key.weight.unflatten(0, (self.heads, -1))  # [h, d, C]
        value_weight = self.value.weight.unflatten(0, (self.heads, -1))
        value_bias = self.value.bias.unflatten(0, (self.heads, 1, -1))  # [h, 1, d]
        wide_query = torch.einsum("bhsd,hdc->bhsc", query, key_weight)
        # All heads read the same tokens: their queries stand one after the other in one attention without heads.
        shared = tokens.to(wide_query.dtype)[:, None]
        wide = attend(wide_query.flatten(1, 2)[:, None], shared, shared, mask, dropout=dropout, scale=scale)
        context = torch.einsum("bhsc,hdc->bhsd", wide[:, 0].unflatten(1, (self.heads, -1)), value_weight)
        # The key bias has no influence here; its zero share keeps it in the graph, as distributed training demands.
        value_bias = value_bias + 0.0 * self.key.bias.sum()
        # Dropout leaves attention weights that no longer sum to one; the plain form then scales the bias with them,
        # this form does not. The expectation is the same, so only dropout > 0 distinguishes the two.
        return context + value_bias


def _linear_after(projection: nn.Linear, x: Tensor, affine: tuple[Tensor, Tensor] | None) -> Tensor:
    """``projection(x * affine[0] + affine[1])`` without touching ``x`` ``[..., C]``."""
    if affine is None:
        return projection(x)
    scale, shift = affine
    return F.linear(x, projection.weight * scale, projection(shift))


class FeedForward(nn.Module):
    """BERT's feed-forward block with residual and post-norm, ``[B, S, H] -> [B, S, H]``."""

    def __init__(self, *, width: int, intermediate: int, dropout: float, eps: float) -> None:
        super().__init__()
        self.expand = nn.Linear(width, intermediate)
        self.contract = nn.Linear(intermediate, width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.dropout = dropout

    def forward(self, hidden: Tensor) -> Tensor:
        update = self.contract(F.gelu(self.expand(hidden)))
        return self.norm(drop(update, self.dropout, self.training) + hidden)


class QFormerLayer(nn.Module):
    """Self-attention for all, cross-attention and one feed-forward for queries, another feed-forward for text."""

    def __init__(
        self,
        *,
        width: int,
        heads: int,
        intermediate: int,
        memory_width: int | None,
        text: bool,
        dropout: float,
        eps: float,
        absorbed: bool,
    ) -> None:
        super().__init__()
        self.self_attention = Attention(width=width, heads=heads, dropout=dropout, eps=eps)
        self.cross_attention = None
        if memory_width is not None:
            self.cross_attention = Attention(
                width=width, heads=heads, memory_width=memory_width, dropout=dropout, eps=eps, absorbed=absorbed
            )
        blocks = {"width": width, "intermediate": intermediate, "dropout": dropout, "eps": eps}
        self.query_feed_forward = FeedForward(**blocks)
        self.text_feed_forward = FeedForward(**blocks) if text else None

    def forward(
        self,
        hidden: Tensor,
        *,
        queries: int,
        mask: Tensor | None,
        memory: tuple[Tensor, Tensor] | Tensor | None,
        memory_mask: Tensor | None,
        rows: int | None = None,
    ) -> Tensor:
        """``hidden [B, S, H]`` whose first ``queries`` rows are queries, the rest text: its first ``rows`` rows."""
        keys_values = self.self_attention.project(hidden)
        if rows is not None:
            hidden = hidden[:, :rows]
            mask = mask[..., :rows, :] if mask is not None and mask.shape[-2] > 1 else mask
        hidden = self.self_attention(hidden, keys_values, mask)
        query, text = hidden[:, :queries], hidden[:, queries:]
        if queries:
            if self.cross_attention is not None:
                query = self.cross_attention(query, memory, memory_mask)
            query = self.query_feed_forward(query)
        if not text.shape[1]:
            return query
        text = self.text_feed_forward(text)
        return torch.cat([query, text], dim=1) if queries else text


class QFormer(nn.Module):
    """Learned queries, and optionally text, over encoder tokens.

    Args:
        encoder_width: width C of the encoder tokens.
        width: hidden size H (768 in the paper).
        layers: number of layers (12 in the paper).
        heads: attention heads (12 in the paper).
        intermediate: feed-forward size (3072 in the paper).
        queries: number of learned queries Q (32 in the paper), drawn from N(0, 0.02).
        cross_attention_every: layers 0, n, 2n, ... attend the encoder tokens (2 in the paper).
        text: build the text path (stage 1); without it only queries pass (stage 2, inference).
        vocabulary: number of text tokens, the added ``[DEC]`` included.
        max_positions: longest text.
        dropout: hidden and attention dropout.
        absorbed: cross-attention in the absorbed form, see :class:`Attention`.
        wide_cross_attention: start cross-attention as :meth:`Attention.widen` does; False draws all weights from
            N(0, 0.02), as published. Weights that are loaded come in place of either.
    """

    def __init__(
        self,
        *,
        encoder_width: int,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        intermediate: int = 3072,
        queries: int = 32,
        cross_attention_every: int = 2,
        text: bool = True,
        vocabulary: int = 30523,
        max_positions: int = 512,
        dropout: float = 0.1,
        eps: float = 1e-12,
        absorbed: bool = False,
        wide_cross_attention: bool = True,
    ) -> None:
        super().__init__()
        self.width = width
        self.encoder_width = encoder_width
        self.query_count = queries
        self.dropout = dropout
        self.absorbed = absorbed
        self.query_tokens = nn.Parameter(torch.empty(1, queries, width))
        self.embedding_norm = nn.LayerNorm(width, eps=eps)
        self.word_embeddings = nn.Embedding(vocabulary, width, padding_idx=0) if text else None
        self.position_embeddings = nn.Embedding(max_positions, width) if text else None
        self.layers = nn.ModuleList(
            QFormerLayer(
                width=width,
                heads=heads,
                intermediate=intermediate,
                memory_width=encoder_width if index % cross_attention_every == 0 else None,
                text=text,
                dropout=dropout,
                eps=eps,
                absorbed=absorbed,
            )
            for index in range(layers)
        )
        self.apply(self._initialise)
        nn.init.normal_(self.query_tokens, std=0.02)
        for layer in self.layers:
            if wide_cross_attention and layer.cross_attention is not None:
                layer.cross_attention.widen()

    @staticmethod
    def _initialise(module: nn.Module) -> None:
        """BERT's initialisation: weights N(0, 0.02), biases 0, norms 1."""
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            nn.init.zeros_(module.weight[module.padding_idx].data)

    @property
    def has_text(self) -> bool:
        return self.word_embeddings is not None

    def project(
        self, tokens: Tensor, token_mask: Tensor | None = None, affine: tuple[Tensor, Tensor] | None = None
    ) -> EncoderMemory:
        """Prepare encoder tokens ``[B, N, C]`` for cross-attention: keys and values once per image.

        Args:
            token_mask: ``[B, N]``, True where a token is real.
            affine: scale and shift ``[C]`` that the tokens are still to get (:meth:`Attention.project`).

        Raises:
            ValueError: tokens of another width, or ``affine`` in the absorbed form, which reads the tokens themselves.
        """
        if tokens.shape[-1] != self.encoder_width:
            raise ValueError(
                f"encoder tokens are {tokens.shape[-1]} wide but this Q-Former was built for {self.encoder_width}"
            )
        if self.absorbed and affine is not None:
            raise ValueError("the absorbed form reads the tokens themselves: scale and shift them before")
        tokens = tokens.to(self.query_tokens.dtype)  # a cache may hold half precision
        if self.absorbed:  # every layer reads these very tokens: round them once
            tokens = tokens.to(autocast_type(tokens.device) or tokens.dtype)
        projected = {}
        if not self.absorbed:
            for index, layer in enumerate(self.layers):
                if layer.cross_attention is not None:
                    projected[index] = layer.cross_attention.project(tokens, affine)
        return EncoderMemory(tokens=tokens, mask=token_mask, projected=projected, affine=affine)

    def embed_text(self, *segments: Tensor) -> Tensor:
        """Word plus position embeddings ``[B, sum(T_i), H]`` of ids ``[B, T_i]``, before the shared norm.

        One lookup for all segments: each would give a gradient as large as the vocabulary.
        """
        if not self.has_text:
            raise RuntimeError("this Q-Former was built without its text path (text=False), so it cannot read text")
        ids = torch.cat(segments, dim=1)
        positions = torch.cat([torch.arange(segment.shape[1], device=ids.device) for segment in segments])
        return self.word_embeddings(ids) + self.position_embeddings(positions)

    def forward(
        self,
        memory: EncoderMemory | None = None,
        *,
        texts: tuple[Tensor, ...] = (),
        mask: Tensor | None = None,
        use_queries: bool = True,
        rows: int | None = None,
    ) -> Tensor:
        """Run queries and any number of text segments in one pass.

        Args:
            memory: from :meth:`project`; needed when queries run.
            texts: token ids, each ``[B, T_i]``; every segment's positions start at 0.
            mask: bool, broadcastable to ``[B, 1, S, S]`` with ``S = Q + sum(T_i)``, True where row may see column;
                None lets all see all.
            use_queries: False runs text alone.
            rows: how many of the S positions are wanted, from the first on; None means all. What the last layer would
                make of the others is left out.

        Returns:
            Hidden states ``[B, S, H]`` or ``[B, rows, H]``, queries first.
        """
        if use_queries and memory is None:
            raise ValueError("queries need a memory: call project(tokens) first, or pass use_queries=False")
        parts = [self.embed_text(*texts)] if texts else []
        queries = self.query_count if use_queries else 0
        if use_queries:
            parts.insert(0, self.query_tokens.expand(memory.tokens.shape[0], -1, -1))
        hidden = self.embedding_norm(torch.cat(parts, dim=1))
        hidden = drop(hidden, self.dropout, self.training)
        memory_mask = None
        if use_queries and memory.mask is not None:
            memory_mask = memory.mask[:, None, None, :]
        for index, layer in enumerate(self.layers):
            attended = None
            if use_queries and layer.cross_attention is not None:
                attended = memory.tokens if self.absorbed else memory.projected[index]
            wanted = rows if layer is self.layers[-1] else None
            hidden = layer(hidden, queries=queries, mask=mask, memory=attended, memory_mask=memory_mask, rows=wanted)
        return hidden

    def copy_text_to_query_feed_forward(self) -> None:
        """Start the query feed-forward blocks from the text ones, as BLIP-2 does after loading BERT."""
        for layer in self.layers:
            layer.query_feed_forward.load_state_dict(layer.text_feed_forward.state_dict())
