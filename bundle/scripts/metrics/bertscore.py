"""BERTScore (Zhang et al., ICLR 2020) from a model folder on disk.

Greedy cosine matching of contextual word vectors, optionally weighted by inverse document frequency over the
references (ImageCLEF uses it). Precision, recall and F1 are all reported: published tables differ in which they take.
Equal to the `bert-score` package for the same BERT folder and layer; a caption scores the same in any batch.

Shape legend: B captions of a batch, L tokens, D width.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scripts.errors import InputError
from scripts.metrics.statistic import Statistic, mean_statistic

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_BATCH = 64

# the layer that agrees best with people, by the name a model is published under: bert-score 0.3.13, utils.model2layers
PUBLISHED_LAYERS = {
    "bert-base-uncased": 9,
    "bert-large-uncased": 18,
    "deberta-base-mnli": 9,
    "deberta-large-mnli": 18,
    "deberta-xlarge": 18,
    "deberta-xlarge-mnli": 40,
    "distilbert-base-uncased": 5,
    "roberta-base": 10,
    "roberta-large": 17,
    "roberta-large-mnli": 19,
}


@dataclass(frozen=True)
class _Embedded:
    """Word vectors of one caption, unit length `[L, D]`, and their weights `[L]` (0 for special tokens)."""

    vectors: torch.Tensor
    weights: torch.Tensor

    @property
    def is_empty(self) -> bool:
        return len(self.weights) <= 2  # only the two special tokens


class BertScorer:
    """BERTScore with the model in `folder`.

    Args:
        folder: a transformers model folder (config, weights, tokenizer); nothing is downloaded.
        layer: hidden layer that is compared, counted from 1; by default the one that published figures of this model
            use (`published_layer`), and the last of a model that has none.
        idf: weigh words by inverse document frequency over the references.
        published_only: refuse a model without a published layer when none is given.

    Raises:
        InputError: the folder holds no model that can be loaded, or its layer is not known and must be.
    """

    def __init__(
        self, *, folder: str | Path, layer: int | None = None, idf: bool = False, published_only: bool = False
    ) -> None:
        self.folder = Path(folder)
        layer = layer if layer is not None else published_layer(self.folder)
        if layer is None and published_only:
            raise InputError(
                f"{self.folder}: no published BERTScore layer is known for this model; give --bertscore-layer "
                "(40 for microsoft/deberta-xlarge-mnli, which ImageCLEF uses)"
            )
        self.tokenizer, self.model = _load(self.folder)
        depth = self.model.config.num_hidden_layers
        self.layer = layer if layer is not None else depth
        if not 1 <= self.layer <= depth:
            raise InputError(f"BERTScore layer {self.layer}: {self.folder} has layers 1 to {depth}")
        self.idf = idf

    def score(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[Statistic]:
        """Mean precision, recall and F1 of N predictions; with several references the best of each counts."""
        flat = [text for group in references for text in group]
        weights = self._document_weights(flat)
        embedded = self._embed(list(predictions), weights)
        others = self._embed(flat, weights)
        rows, place = [], 0
        for mine, group in zip(embedded, references, strict=True):
            rows.append(np.max([_match(mine, other) for other in others[place : place + len(group)]], axis=0))
            place += len(group)
        table = np.array(rows).reshape(-1, 3)
        note = f"{self.folder.name}, layer {self.layer}, {'idf' if self.idf else 'no idf'}"
        return [mean_statistic(f"BERTScore {part}", table[:, i], note) for i, part in enumerate(("P", "R", "F1"))]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        limit = min(self.tokenizer.model_max_length, self.model.config.max_position_embeddings)
        return [self.tokenizer(text.strip(), truncation=True, max_length=limit)["input_ids"] for text in texts]

    def _document_weights(self, references: Sequence[str]) -> dict[int, float] | None:
        if not self.idf:
            return None
        documents = Counter(token for ids in self._ids(references) for token in set(ids))
        total = len(references)
        weights = {token: math.log((total + 1) / (count + 1)) for token, count in documents.items()}
        return {**weights, -1: math.log(total + 1)}  # -1: a token that no reference has

    def _embed(self, texts: Sequence[str], weights: dict[int, float] | None) -> list[_Embedded]:
        import torch

        special = {self.tokenizer.cls_token_id, self.tokenizer.sep_token_id}  # unknown words do count
        ids = self._ids(texts)
        embedded: list[_Embedded] = []
        for start in range(0, len(ids), _BATCH):
            batch = ids[start : start + _BATCH]
            padded = self.tokenizer.pad({"input_ids": batch}, return_tensors="pt")
            with torch.inference_mode():
                hidden = self.model(**padded, output_hidden_states=True).hidden_states[self.layer]
            for row, tokens in zip(hidden, batch, strict=True):
                vectors = row[: len(tokens)].float()
                given = [
                    0.0 if t in special else 1.0 if weights is None else weights.get(t, weights[-1]) for t in tokens
                ]
                embedded.append(_Embedded(vectors / vectors.norm(dim=-1, keepdim=True), torch.tensor(given)))
        return embedded


def published_layer(folder: Path) -> int | None:
    """The layer of `PUBLISHED_LAYERS` for the model in a folder, None where it is none of them.

    A model is known by the name in its config, by its folder (a hub's cache included), or, as ImageCLEF's may come
    without either, as a DeBERTa classifier of 48 layers of 1,024 channels.

    Raises:
        InputError: there is no config that can be read.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        why = "no model here (config.json is missing); BERTScore takes a folder on disk, not a name"
        raise InputError(f"{folder}: {why}") from None
    except ValueError as error:
        raise InputError(f"{folder}: cannot be loaded for BERTScore (config.json: {error})") from None
    named = [str(config.get("_name_or_path", "")), *reversed(folder.resolve().parts)]
    short = (name.replace("--", "/").rstrip("/").rsplit("/", 1)[-1].lower() for name in named)
    known = next((PUBLISHED_LAYERS[name] for name in short if name in PUBLISHED_LAYERS), None)
    shape = tuple(config.get(key) for key in ("model_type", "num_hidden_layers", "hidden_size"))
    classifies = "DebertaForSequenceClassification" in (config.get("architectures") or ())
    if known is None and classifies and shape == ("deberta", 48, 1024):
        return PUBLISHED_LAYERS["deberta-xlarge-mnli"]
    return known


def _load(folder: Path) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    try:
        from transformers import AutoModel, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return tokenizer, AutoModel.from_pretrained(folder, local_files_only=True).eval()
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{folder}: cannot be loaded for BERTScore ({reason})") from None


def _match(candidate: _Embedded, reference: _Embedded) -> tuple[float, float, float]:
    """Precision, recall, F1 of one pair; all 0 where one has no words."""
    if candidate.is_empty or reference.is_empty:
        return 0.0, 0.0, 0.0
    similarity = candidate.vectors @ reference.vectors.T
    sums = (candidate.weights.sum(), reference.weights.sum())
    if min(sums) <= 0:
        return 0.0, 0.0, 0.0
    precision = float((similarity.max(dim=1).values * candidate.weights).sum() / sums[0])
    recall = float((similarity.max(dim=0).values * reference.weights).sum() / sums[1])
    total = precision + recall
    return precision, recall, 2 * precision * recall / total if total else 0.0
