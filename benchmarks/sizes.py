"""Sizes of the networks with random weights that benchmarks build: as published, with few layers, and tiny."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundle"))
from scripts.encoders.sam_vit import NECK_CHANNELS, PATCH, SAM_SIZES, SamSize  # noqa: E402

QUERIES = 32


class Sizes(NamedTuple):
    """Of all parts, the same on every side of a comparison.

    Attributes:
        clip: values of CLIP's config.
        sam, sam_side: blocks of SAM, and the side of its image in pixels.
        qformer: arguments of a Q-Former; its vocabulary includes the word that begins a caption, the last.
        opt: values of OPT's config; its defaults are those of OPT-125m.
    """

    clip: dict[str, int]
    sam: SamSize
    sam_side: int
    qformer: dict[str, int]
    opt: dict[str, int]

    @property
    def tokens(self) -> dict[str, tuple[int, int]]:
        """Number and width of each branch's encoder tokens."""
        clip = (self.clip["image_size"] // self.clip["patch_size"]) ** 2 + 1
        return {
            "general": (clip, self.clip["hidden_size"]),
            "detail": ((self.sam_side // PATCH) ** 2, NECK_CHANNELS),
        }


CLIP_L14 = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24}
CLIP_L14 |= {"image_size": 224, "patch_size": 14}
SAM_BASE = SAM_SIZES["base"]

FULL = Sizes(
    clip=CLIP_L14,
    sam=SAM_BASE,
    sam_side=1024,
    qformer={"layers": 12, "vocabulary": 30523},
    opt={"num_hidden_layers": 12},
)
QUICK = FULL._replace(
    clip={**CLIP_L14, "num_hidden_layers": 3},
    sam=SAM_BASE._replace(depth=3, global_blocks=(2,)),
    qformer={"layers": 2, "vocabulary": 30523},
)
SMOKE = Sizes(
    clip={**CLIP_L14, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 1},
    sam=SamSize(width=48, depth=2, heads=3, global_blocks=(1,)),
    sam_side=256,
    qformer={"layers": 2, "width": 96, "heads": 4, "intermediate": 192, "vocabulary": 1500},
    opt={
        "hidden_size": 64,
        "ffn_dim": 128,
        "num_attention_heads": 4,
        "word_embed_proj_dim": 64,
        "num_hidden_layers": 1,
        "vocab_size": 1500,
    },
)


def sizes_of(options: Any) -> Sizes:
    """By the options `--smoke` and `--quick` of a benchmark."""
    return SMOKE if options.smoke else QUICK if options.quick else FULL
