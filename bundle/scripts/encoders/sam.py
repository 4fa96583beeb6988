"""SAM as the detail encoder: ViT-B, L or H, from Meta's, MedSAM's or Hugging Face's weights.

Shape legend: B images, N tokens, C width, S the encoder's input size.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from scripts.encoders.frozen import FrozenEncoder, weights_state
from scripts.encoders.sam_vit import NECK_CHANNELS, NORM_EPS, PATCH, SAM_SIZES, WINDOW, SamSize, SamViT
from scripts.encoders.token_grid import Layout, TokenGrid
from scripts.errors import InputError, WeightsError

TRAINED_SIZE = 1024
SAM_MEAN = (123.675 / 255, 116.28 / 255, 103.53 / 255)
SAM_STD = (58.395 / 255, 57.12 / 255, 57.375 / 255)

# Meta's names, which are ours, and Hugging Face's; replaced in this order either way.
_META_AND_HUGGING_FACE = (
    ("patch_embed.proj.", "patch_embed.projection."),
    ("blocks.", "layers."),
    ("neck.0.", "neck.conv1."),
    ("neck.1.", "neck.layer_norm1."),
    ("neck.2.", "neck.conv2."),
    ("neck.3.", "neck.layer_norm2."),
    (".norm1.", ".layer_norm1."),
    (".norm2.", ".layer_norm2."),
)
_PREFIXES = ("image_encoder.", "vision_encoder.")  # in a whole SAM of Meta, of Hugging Face


class SamEncoder(FrozenEncoder):
    """SAM's image encoder: images ``[B, 3, H, H]`` in [0, 1] -> tokens ``[B, N, C]``.

    Args:
        weights: path of ``sam_vit_*.pth`` or MedSAM's checkpoint, folder or hub name of a ``SamModel``, or None for
            random weights.
        size: "base", "large", "huge", or the dimensions of another.
        input_size: side of the square that the network sees, a multiple of 16. SAM was trained at 1,024; below it the
            position tables are interpolated and a warning says so.
        layout: "spatial" (positions are tokens) or "channel" (256 tokens of (S/16)^2 values, the official code's).
        pool: average pooling of the map before flattening; spatial only.
        normalization: "sam" (mean and standard deviation of SAM) or "medsam" (none: MedSAM was trained on [0, 1]).
        trainable_blocks: how many of the last blocks are tuned, or "all".
        backend: "native", or "segment_anything" to run Meta's package where it and torchvision are installed.

    Raises:
        InputError: an impossible option.
        WeightsError: the weights cannot be had or are of another size, or the backend is not installed.
    """

    def __init__(
        self,
        *,
        weights: str | Path | None = None,
        size: Literal["base", "large", "huge"] | SamSize = "base",
        input_size: int = TRAINED_SIZE,
        layout: Layout = "spatial",
        pool: int = 1,
        normalization: Literal["sam", "medsam"] = "sam",
        trainable_blocks: int | Literal["all"] = 0,
        backend: Literal["native", "segment_anything"] = "native",
    ) -> None:
        if input_size < PATCH or input_size % PATCH:
            raise InputError(f"input_size of SAM is a multiple of {PATCH}, not {input_size}")
        if normalization not in ("sam", "medsam"):
            raise InputError(f'normalization is "sam" or "medsam", not {normalization!r}')
        to_tokens = TokenGrid(channels=NECK_CHANNELS, side=input_size // PATCH, layout=layout, pool=pool)
        super().__init__(
            width=to_tokens.width,
            grid=to_tokens.grid,
            token_count=to_tokens.token_count,
            input_size=input_size,
            mean=SAM_MEAN if normalization == "sam" else (0.0,) * 3,
            std=SAM_STD if normalization == "sam" else (1.0,) * 3,
            settings=to_tokens.settings,
        )
        self.to_tokens = to_tokens
        self.network = _build(_dimensions(size), input_size, backend)
        if weights is not None:
            self._load(weights)
        self._freeze(trainable_blocks)

    def _load(self, weights: str | Path) -> None:
        from scripts.weights.loading import load_parameters

        given, own = weights_state(weights), self.network.state_dict()
        keys = _keys_in_file(given)
        if absent := [name for name in own if name not in keys]:
            raise WeightsError(
                f"{weights} lacks {len(absent)} weights of SAM's image encoder, {_key_in_file(absent[0], given)!r} "
                "first: another model, another size or damaged"
            )
        state = {name: given[key] for name, key in keys.items()}
        resized = _fit(state, own, input_size=self.input_size)
        report = load_parameters(self.network, resized, source=str(weights), required=own, may_ignore=("pixel_*",))
        report.unused += [key for key in given if key not in keys.values()]
        report.log()
        self.weights_source = weights

    def block_groups(self) -> list[list[nn.Module]]:
        groups: list[list[nn.Module]] = [[block] for block in self.network.blocks]
        groups[-1].append(self.network.neck)
        return groups

    def features(self, pixels: Tensor) -> Tensor:
        """Feature map ``[B, 256, S/16, S/16]`` after the neck, what SAM's mask decoder takes."""
        return self.network(pixels)

    def encode(self, pixels: Tensor) -> Tensor:
        """Tokens ``[B, N, C]`` of normalised pixels ``[B, 3, S, S]``."""
        return self.to_tokens(self.features(pixels))


def _dimensions(size: str | SamSize) -> SamSize:
    if isinstance(size, str):
        if size not in SAM_SIZES:
            raise InputError(f"size of SAM is one of {', '.join(SAM_SIZES)}, not {size!r}")
        return SAM_SIZES[size]
    return SamSize(*size)


def _build(size: SamSize, input_size: int, backend: str) -> nn.Module:
    if backend == "native":
        return SamViT(size, input_size=input_size)
    if backend != "segment_anything":
        raise InputError(f'backend is "native" or "segment_anything", not {backend!r}')
    try:
        from segment_anything.modeling.image_encoder import ImageEncoderViT
    except (ImportError, RuntimeError) as error:  # a torchvision of another torch raises RuntimeError
        raise WeightsError(
            f"backend segment_anything cannot be imported ({error}): install segment-anything and the torchvision of "
            'your torch, or use backend "native", which computes the same'
        ) from error
    return ImageEncoderViT(
        img_size=input_size,
        embed_dim=size.width,
        depth=size.depth,
        num_heads=size.heads,
        global_attn_indexes=size.global_blocks,
        norm_layer=lambda width: nn.LayerNorm(width, eps=NORM_EPS),
        use_rel_pos=True,
        window_size=WINDOW,
    )


def _prefix(keys: Iterable[str]) -> str:
    """What precedes the image encoder's names in the file of a whole SAM."""
    keys = list(keys)
    return next((prefix for prefix in _PREFIXES if any(key.startswith(prefix) for key in keys)), "")


def _keys_in_file(keys: Iterable[str]) -> dict[str, str]:
    """Encoder names to keys, of Meta's ``Sam`` or ``ImageEncoderViT`` or Hugging Face's SAM classes."""
    prefix, names = _prefix(keys), {}
    for key in keys:
        if key.startswith(prefix):
            name = key.removeprefix(prefix)
            for meta, hugging_face in _META_AND_HUGGING_FACE:
                name = name.replace(hugging_face, meta)
            names[name] = key
    return names


def _key_in_file(name: str, keys: Iterable[str]) -> str:
    """The key that a file with these other ``keys`` would have for an encoder name."""
    prefix = _prefix(keys)
    if any(key.removeprefix(prefix).startswith(("layers.", "neck.conv")) for key in keys):
        for meta, hugging_face in _META_AND_HUGGING_FACE:
            name = name.replace(meta, hugging_face)
    return prefix + name


def _fit(state: Mapping[str, Tensor], own: Mapping[str, Tensor], *, input_size: int) -> dict[str, Tensor]:
    """Interpolate position tables of another input size; warn once if any was."""
    fitted = dict(state)
    changed = False
    for name, value in state.items():
        wanted = own[name].shape if name in own else value.shape
        if value.shape == wanted:
            continue
        if name == "pos_embed" and value.shape[-1] == wanted[-1]:
            grid = value.permute(0, 3, 1, 2).float()
            grid = F.interpolate(grid, size=wanted[1:3], mode="bicubic", antialias=True, align_corners=False)
            fitted[name], changed = grid.permute(0, 2, 3, 1).to(value.dtype), True
        elif name.endswith(("rel_pos_h", "rel_pos_w")) and value.shape[-1] == wanted[-1]:
            table = F.interpolate(value.t()[None].float(), size=wanted[0], mode="linear")
            fitted[name], changed = table[0].t().contiguous().to(value.dtype), True
    if changed:
        warnings.warn(
            f"SAM's position tables were interpolated for input_size={input_size}; SAM was trained at {TRAINED_SIZE}, "
            "what this costs in caption quality is not known",
            stacklevel=4,
        )
    return fitted
