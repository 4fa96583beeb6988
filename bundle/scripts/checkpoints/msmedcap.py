"""Checkpoints of the official MSMedCap code: LAVIS names for the general branch, ``sam_*`` names for the detail one.

Its SAM branch has no norm on the encoder tokens, and its tokens are SAM's channels: the network needs
``detail_token_norm: false`` and ``sam_layout: channel``. Only the published names are used here, none of that code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from scripts.checkpoints.foreign import ForeignLayout, qformer_renames
from scripts.checkpoints.lavis import FROZEN_KEYS, has_text, heads, is_lavis, lavis_layout, text_keys

_DETAIL_KEYS = ("sam_Qformer.*", "sam_query_tokens", "sam_opt_proj.*")
_HEAD_KEYS = ("vision_proj.*", "text_proj.*", "itm_head.*", "temp")


def is_msmedcap(keys: Iterable[str]) -> bool:
    """Whether these are an official MSMedCap checkpoint's keys."""
    return any(key.startswith("sam_Qformer.bert.") for key in keys)


def msmedcap_layout(keys: Iterable[str], branch: str) -> ForeignLayout:
    """Layout of one branch of an MSMedCap checkpoint.

    In a stage-1 file merged from two runs the heads belong to the general branch; in a SAM-only stage-1 file they
    belong to the detail branch.
    """
    keys = list(keys)
    if branch == "general":
        layout = lavis_layout(keys)
        return replace(
            layout, name=layout.name.replace("LAVIS", "MSMedCap"), known=(*FROZEN_KEYS, *_DETAIL_KEYS, "sam_model.*")
        )
    stage1, merged = has_text(keys, "sam_Qformer"), is_lavis(keys)
    renames = qformer_renames(
        layer="sam_Qformer.bert.encoder.layer.",
        inner="self",
        norm="sam_Qformer.bert.embeddings.LayerNorm",
        embeddings="sam_Qformer.bert.embeddings",
        queries="sam_query_tokens",
    )
    never = ("projection.*",) if stage1 else ()
    if merged:
        never += ("contrast.*", "matching.*")
    general = ("Qformer.*", "query_tokens", "ln_vision.*", "opt_proj.*", *_HEAD_KEYS)
    return ForeignLayout(
        name=f"MSMedCap detail branch stage {1 if stage1 else 2}",
        renames=(*renames, (r"^projection\.", "sam_opt_proj."), *heads("sam_Qformer")),
        never=never,
        refused=("token_norm.*",),
        belongs=_DETAIL_KEYS,
        optional=(*text_keys("sam_Qformer"), "sam_opt_proj.*"),
        known=(*FROZEN_KEYS, "sam_model.*", *general),
    )
