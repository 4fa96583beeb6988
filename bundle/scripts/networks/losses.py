"""The three stage-1 objectives: image-text contrast (ITC), image-text matching (ITM), image-grounded generation (ITG).

Each is a module that owns its head and turns Q-Former states into one scalar; each serves one process or many alike.
Beside them :func:`sameness`, which is no part of the paper, keeps an image's queries from all saying one thing.
:func:`packed_mask` and :func:`matching_mask` say who sees whom. Source: BLIP-2 (arXiv 2301.12597, section 3.2);
label smoothing, hard-negative sampling and the maximum over queries as in its public description and LAVIS.

Shape legend: B images here, G = B times the number of processes, Q queries, T text tokens, H hidden, E embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scripts.distributed import gather, gather_with_gradient, rank
from scripts.errors import InputError
from scripts.networks.pair_memory import Remembered


def packed_mask(queries: int, attention_mask: Tensor) -> Tensor:
    """Who sees whom in one pass over ``[queries | text to generate | text to contrast]``.

    Queries see queries; a generated token sees the queries and the tokens up to itself (never the reverse, so queries
    cannot read the answer); contrast text sees contrast text only, so the two modalities stay apart.

    Args:
        queries: Q.
        attention_mask: ``[B, T]``, nonzero at real tokens.

    Returns:
        bool ``[B, 1, Q + 2T, Q + 2T]``, True where the row may see the column.
    """
    batch, length = attention_mask.shape
    real = attention_mask.bool()
    size = queries + 2 * length
    mask = torch.zeros(batch, size, size, dtype=torch.bool, device=attention_mask.device)
    generate = slice(queries, queries + length)
    contrast = slice(queries + length, size)
    mask[:, :queries, :queries] = True
    mask[:, generate, :queries] = True
    causal = torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
    mask[:, generate, generate] = causal & real[:, None, :]
    mask[:, contrast, contrast] = real[:, None, :].expand(-1, length, -1)
    return mask[:, None]


def matching_mask(queries: int, attention_mask: Tensor) -> Tensor:
    """All queries and all real text tokens see one another: bool ``[B, 1, 1, Q + T]``."""
    return F.pad(attention_mask.bool(), (queries, 0), value=True)[:, None, None, :]


def _in_float32(projection: nn.Linear, states: Tensor) -> Tensor:
    """A projection whatever autocast says: bfloat16 cannot tell vectors apart that are close, nor say which way."""
    with torch.autocast(states.device.type, enabled=False):
        return projection(states.to(projection.weight.dtype)).float()


def masked_mean(states: Tensor, attention_mask: Tensor) -> Tensor:
    """Mean ``[B, H]`` of the real ones among states ``[B, T, H]``; ``attention_mask`` ``[B, T]``."""
    weights = attention_mask.to(states.dtype)[..., None]
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


def sameness(queries: Tensor) -> Tensor:
    """How much of what tells images apart all queries of an image have in common, over the images of all processes.

    With ``d_nq`` the state of query q for image n less its mean over images, ``sum |mean_q d_nq|^2 / mean_q |d_nq|^2``:
    1 where each query says of an image what the others say, ``1 / Q`` where no query has to do with another.
    Nothing else asks queries to differ: ITC takes the best of them, ITM their mean, and layers that are normalised
    after each sum draw like states together. As a loss it does not see what queries say of all images alike.

    Args:
        queries: states ``[B, Q, H]`` of this process's images.
    """
    states = gather_with_gradient(queries.to(torch.promote_types(queries.dtype, torch.float32)))
    differences = states - states.mean(dim=0, keepdim=True)
    energy = differences.square().sum().clamp_min(torch.finfo(states.dtype).tiny)  # one image differs from none
    return differences.mean(dim=1).square().sum() * states.shape[1] / energy


def same_text(input_ids: Tensor, all_ids: Tensor) -> Tensor:
    """``[B, G]`` bool: True where two captions are the same token for token (``[B, T]`` against ``[G, T]``)."""
    return (input_ids[:, None, :] == all_ids[None, :, :]).all(-1)


class ImageTextContrast(nn.Module):
    """ITC: the best-matching query of an image must point at its own caption, and the reverse.

    ``s_ij = max_q <v_iq, t_j> / temperature`` with unit vectors ``v`` (a projection of each query) and ``t`` (of the
    text's first token, or of the mean of its tokens); the loss is the mean of the cross-entropies over rows and over
    columns.

    Args:
        width: Q-Former hidden size H.
        embedding: size E of the shared space (256 in the paper).
        temperature: start of the temperature (0.07 in the paper).
        label_smoothing: 0.1 in the paper.
        learn_temperature: as published; False keeps its start.
        query_pool: ``"max"`` over the queries, as published, or ``"mean"``.
        text_pool: what speaks for a text: its ``"first"`` token, as published, or the ``"mean"`` of its tokens, for
            text encoders that learned so (sentence encoders such as MiniLM).

    Raises:
        InputError: another ``query_pool`` or ``text_pool``.
    """

    def __init__(
        self,
        *,
        width: int,
        embedding: int = 256,
        temperature: float = 0.07,
        label_smoothing: float = 0.1,
        learn_temperature: bool = True,
        query_pool: str = "max",
        text_pool: str = "first",
    ) -> None:
        super().__init__()
        if query_pool not in ("max", "mean"):
            raise InputError(f'query_pool is "max" or "mean", not {query_pool!r}')
        if text_pool not in ("first", "mean"):
            raise InputError(f'text_pool is "first" or "mean", not {text_pool!r}')
        self.query_pool = query_pool
        self.text_pool = text_pool
        self.image_projection = nn.Linear(width, embedding)
        self.text_projection = nn.Linear(width, embedding)
        self.temperature = nn.Parameter(torch.tensor(float(temperature)), requires_grad=learn_temperature)
        self.label_smoothing = label_smoothing

    def embed_image(self, queries: Tensor) -> Tensor:
        """``[B, Q, H] -> [B, Q, E]``, unit length; with the mean as pool, their mean ``[B, 1, E]``."""
        vectors = F.normalize(_in_float32(self.image_projection, queries), dim=-1)
        return vectors if self.query_pool == "max" else vectors.mean(dim=1, keepdim=True)

    def text_rows(self, length: int) -> int:
        """How many states of a text of ``length`` tokens :meth:`embed_text` looks at, from the first on."""
        return 1 if self.text_pool == "first" else length

    def embed_text(self, states: Tensor, attention_mask: Tensor) -> Tensor:
        """States ``[B, rows, H]`` of a text's tokens, of which ``attention_mask`` ``[B, T]`` are real, to ``[B, E]``.

        Unit length.
        """
        speaking = states[:, 0] if self.text_pool == "first" else masked_mean(states, attention_mask)
        return F.normalize(_in_float32(self.text_projection, speaking), dim=-1)

    @staticmethod
    def similarity(images: Tensor, texts: Tensor) -> Tensor:
        """``[B, Q, E] x [M, E] -> [B, M]``: the maximum over queries of the cosine, in float32."""
        with torch.autocast(images.device.type, enabled=False):
            return torch.einsum("bqe,me->bqm", images.float(), texts.float()).amax(dim=1)

    def forward(
        self, images: Tensor, texts: Tensor, positives: Tensor, remembered: Remembered | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss and similarities of this process's rows against all processes' columns.

        Args:
            images: ``[B, Q, E]`` from :meth:`embed_image`.
            texts: ``[B, E]`` from :meth:`embed_text`.
            positives: ``[B, G]`` bool, True where caption j is right for image i (its own, and its duplicates).
            remembered: pairs of earlier batches, further columns of the loss.

        Returns:
            ``(loss, image_to_text [B, G], text_to_image [B, G])``, the latter two divided by the temperature.
        """
        all_images, all_texts = gather_with_gradient(images), gather_with_gradient(texts)
        image_to_text = self.similarity(images, all_texts) / self.temperature
        text_to_image = self.similarity(all_images, texts).T / self.temperature
        of_images, of_texts = image_to_text, text_to_image
        if remembered is not None:
            positives = torch.cat([positives, remembered.positives], dim=1)
            of_images = torch.cat([of_images, self.similarity(images, remembered.texts) / self.temperature], dim=1)
            of_texts = torch.cat([of_texts, self.similarity(remembered.images, texts).T / self.temperature], dim=1)
        targets = positives.float() / positives.sum(1, keepdim=True)
        loss = 0.5 * (
            F.cross_entropy(of_images, targets, label_smoothing=self.label_smoothing)
            + F.cross_entropy(of_texts, targets, label_smoothing=self.label_smoothing)
        )
        return loss, image_to_text, text_to_image


def hard_negatives(similarity: Tensor, positives: Tensor, noise: Tensor) -> Tensor:
    """Draw one wrong partner per row, in proportion to ``softmax(similarity)`` over the wrong ones.

    The draw is the Gumbel-max form of a multinomial draw: with the noise of the whole global batch given, each process
    can draw its own rows and all of them together draw what one process would.

    Args:
        similarity: ``[B, G]``.
        positives: ``[B, G]`` bool, what must not be drawn.
        noise: ``[B, G]`` uniform in (0, 1).

    Returns:
        Column indices ``[B]``; a row with no wrong partner (a batch of one) draws its first column.
    """
    gumbel = -torch.log(-torch.log(noise.clamp(1e-20, 1 - 1e-7)))
    return (similarity.detach().float() + gumbel).masked_fill(positives, float("-inf")).argmax(dim=1)


class ImageTextMatching(nn.Module):
    """ITM: does this caption belong to this image? Two-way logits averaged over the queries.

    Args:
        width: Q-Former hidden size H.
        seed: seed of the hard-negative draws; the number of draws so far is a buffer, so that a resumed run draws on.
        hard_negatives: draw wrong partners in proportion to their similarity, as published; False draws any.
    """

    def __init__(self, *, width: int, seed: int = 0, hard_negatives: bool = True) -> None:
        super().__init__()
        self.hard_negatives = hard_negatives
        self.head = nn.Linear(width, 2)
        self.seed = seed
        self.register_buffer("draws", torch.zeros((), dtype=torch.int64))

    def logits(self, queries: Tensor) -> Tensor:
        """``[M, Q, H] -> [M, 2]``: (does not match, matches)."""
        return self.head(queries).mean(dim=1)

    def draw(self, image_to_text: Tensor, text_to_image: Tensor, positives: Tensor) -> tuple[Tensor, Tensor]:
        """Global indices of a wrong image for each text and a wrong text for each image, each ``[B]``.

        Every process draws the same noise for the whole batch and keeps its rows. An evaluating module always starts
        from the same noise, so that validation losses can be compared.
        """
        batch, total = positives.shape
        step = int(self.draws) if self.training else 0
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        noise = torch.rand(2, total, total, generator=generator)[:, rank() * batch : (rank() + 1) * batch]
        noise = noise.to(positives.device)
        if self.training:
            self.draws += 1
        if not self.hard_negatives:
            image_to_text, text_to_image = torch.zeros_like(image_to_text), torch.zeros_like(text_to_image)
        wrong_image = hard_negatives(text_to_image, positives, noise[0])
        wrong_text = hard_negatives(image_to_text, positives, noise[1])
        return wrong_image, wrong_text

    def forward(self, logits: Tensor, has_negative: Tensor) -> Tensor:
        """Mean cross-entropy over ``[3B, 2]``: B right pairs, B with a wrong image, B with a wrong text.

        ``has_negative`` ``[B]`` is False where the batch held no wrong partner (all captions equal, or a batch of
        one): such a row's two wrong pairs are left out instead of being trained with a false label.
        """
        logits = logits.float()
        right = torch.ones_like(has_negative)
        labels = torch.cat([right, torch.zeros_like(right).repeat(2)]).long()
        weights = torch.cat([right, has_negative.repeat(2)]).float()
        total = (F.cross_entropy(logits, labels, reduction="none") * weights).sum()
        return total / gather(weights.sum()[None]).mean()


class ImageGroundedGeneration(nn.Module):
    """ITG: write the caption from the queries, one token after the other, with BERT's language-model head.

    The output matrix is the Q-Former's word embedding (tied); it is passed in, so that it is stored once.
    """

    def __init__(self, *, width: int, vocabulary: int, label_smoothing: float = 0.1, eps: float = 1e-12) -> None:
        super().__init__()
        self.transform = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.label_smoothing = label_smoothing
        nn.init.normal_(self.transform.weight, std=0.02)
        nn.init.zeros_(self.transform.bias)

    def logits(self, hidden: Tensor, word_embeddings: Tensor) -> Tensor:
        """``[..., H] -> [..., V]``."""
        return F.linear(self.norm(F.gelu(self.transform(hidden))), word_embeddings, self.bias)

    def forward(self, hidden: Tensor, input_ids: Tensor, attention_mask: Tensor, word_embeddings: Tensor) -> Tensor:
        """Cross-entropy of every next real token, averaged over the tokens of all processes' captions.

        Args:
            hidden: text states ``[B, T, H]``; position t predicts token t + 1.
            input_ids: ``[B, T]``.
            attention_mask: ``[B, T]``; padding is not predicted.
            word_embeddings: ``[V, H]``.
        """
        return self.total(hidden, input_ids, attention_mask, word_embeddings) / self.token_count(attention_mask)

    def total(self, hidden: Tensor, input_ids: Tensor, attention_mask: Tensor, word_embeddings: Tensor) -> Tensor:
        """The same, summed over this process's tokens."""
        real = attention_mask[:, 1:].bool()
        logits = self.logits(hidden[:, :-1][real], word_embeddings).float()
        return F.cross_entropy(logits, input_ids[:, 1:][real], label_smoothing=self.label_smoothing, reduction="sum")

    @staticmethod
    def token_count(attention_mask: Tensor) -> Tensor:
        """How many tokens a process predicts, on average over processes."""
        return gather(attention_mask[:, 1:].bool().sum().float()[None]).mean()
