"""BLIP-2 checkpoints of LAVIS, stage 1 (``blip2_pretrained.pth``) and stage 2 (``blip2_pretrained_opt2.7b.pth``).

LAVIS (Li et al., ACL 2023 demo) wrote the published BLIP-2 weights. Frozen parts are usually not in its files.
"""

from __future__ import annotations

from collections.abc import Iterable

from scripts.checkpoints.foreign import ForeignLayout, Renames, qformer_renames

FROZEN_KEYS = ("visual_encoder.*", "opt_model.*", "t5_model.*", "llm_model.*")
_HEAD_KEYS = ("vision_proj.*", "text_proj.*", "itm_head.*", "temp")


def text_keys(qformer: str) -> tuple[str, ...]:
    """Patterns of the text path and language-model head below ``Qformer``: what stage 2 has no use for."""
    layer = f"{qformer}.bert.encoder.layer.[0-9]*"
    return (
        f"{qformer}.cls.*",
        f"{qformer}.bert.embeddings.word_embeddings.*",
        f"{qformer}.bert.embeddings.position_embeddings.*",
        f"{qformer}.bert.embeddings.position_ids",
        f"{layer}.intermediate.*",
        f"{layer}.output.*",
    )


def heads(qformer: str) -> Renames:
    """Stage-1 heads: the three objectives' projections, temperature and word head."""
    return (
        (r"^contrast\.image_projection\.", "vision_proj."),
        (r"^contrast\.text_projection\.", "text_proj."),
        (r"^contrast\.temperature$", "temp"),
        (r"^matching\.head\.", "itm_head."),
        (r"^generation\.transform\.", f"{qformer}.cls.predictions.transform.dense."),
        (r"^generation\.norm\.", f"{qformer}.cls.predictions.transform.LayerNorm."),
        (r"^generation\.bias$", f"{qformer}.cls.predictions.bias"),
    )


def is_lavis(keys: Iterable[str]) -> bool:
    """Whether these are a LAVIS BLIP-2 checkpoint's keys."""
    return any(key.startswith("Qformer.bert.") for key in keys)


def has_text(keys: Iterable[str], qformer: str) -> bool:
    """Whether a Q-Former's text path is there, which makes a checkpoint one of stage 1."""
    marks = (f"{qformer}.cls.", f"{qformer}.bert.embeddings.word_embeddings.")
    return any(key.startswith(marks) for key in keys)


def lavis_layout(keys: Iterable[str]) -> ForeignLayout:
    """Layout of a LAVIS checkpoint's one branch; stage 1 where the text path is there, else stage 2."""
    stage1 = has_text(keys, "Qformer")
    renames = qformer_renames(
        layer="Qformer.bert.encoder.layer.",
        inner="self",
        norm="Qformer.bert.embeddings.LayerNorm",
        embeddings="Qformer.bert.embeddings",
        queries="query_tokens",
    )
    others = ((r"^token_norm\.", "ln_vision."), (r"^projection\.", "opt_proj."))
    return ForeignLayout(
        name=f"LAVIS BLIP-2 stage {1 if stage1 else 2}",
        renames=renames + others + heads("Qformer"),
        never=("projection.*",) if stage1 else (),
        belongs=("Qformer.*", "query_tokens", "ln_vision.*", "opt_proj.*", *_HEAD_KEYS),
        optional=(*text_keys("Qformer"), "opt_proj.*", *_HEAD_KEYS),
        known=FROZEN_KEYS,
    )
