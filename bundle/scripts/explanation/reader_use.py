"""Maps of the concept reader: where it sees the plane, modality, organ or phrase that a word says.

They cost one pass of the reader's encoders. They tell what the second witness of a caption goes by, which guides its
beams and believes or doubts it (`scripts.concepts.reader`); the language model's own reasons are asked for by the other
methods. Words that the reader does not know have no map here.

Shape legend: V views, S side of the square, W words, C width of the reader's encoders, h x w the finest of their grids.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from scripts.concepts.class_maps import class_maps
from scripts.concepts.reader import ConceptReader, mean_token
from scripts.concepts.said import said_by
from scripts.explanation.words import content_words

READER = "reader"
"""What the maps are called, beside those of the branches."""


def reader_use(
    reader: ConceptReader, tokens: tuple[Tensor, Tensor | None], views: Tensor, words: Sequence[str]
) -> tuple[Tensor, list[bool]]:
    """What speaks for each word more than the image's average place, ``[W, V, h, w]`` in parts of its log-odds.

    Places that speak for it less count as zero, as do those of a word that the reader does not know. Beside it, which
    words have a map: not those for which all places speak alike.

    Args:
        tokens: of the reader's encoders, ``[1, V, C]``, and which views are real, ``[1, V]`` or None.
        views: ``[V, 3, S, S]``; words: of the caption.
    """
    named = set(content_words(words))
    said = said_by(words, reader.vocabulary, [place for place in range(len(words)) if place not in named])
    known = [place for place, one in enumerate(said) if one is not None]
    asked = list(dict.fromkeys(said[place] for place in known))
    maps = class_maps(reader, views, mean_token(*tokens)[0], asked)
    real = maps.new_ones(len(views)) if tokens[1] is None else tokens[1][0].to(maps)
    mean = (maps.mean((2, 3)) * real).sum(1) / real.sum()
    maps = (maps - mean[:, None, None, None]).clamp_min(0) * real[:, None, None]
    found = maps.new_zeros(len(words), *maps.shape[1:])
    for place in known:
        found[place] = maps[asked.index(said[place])]
    return found, found.flatten(1).sum(1).gt(0).tolist()
