"""SAM's mask decoder with the weights of a checkpoint, and proof that they belong to the encoder in use.

Checkpoints: LiteMedSAM's (the starter's detail encoder comes out of it), Meta's ``sam_vit_*.pth`` and MedSAM's in the
same layout, and Hugging Face's ``SamModel``.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from scripts.encoders.frozen import FrozenEncoder, weights_state
from scripts.encoders.sam import PATCH, SamEncoder
from scripts.encoders.sam_decoder.mask_decoder import MaskDecoder
from scripts.encoders.sam_decoder.prompt_encoder import PromptEncoder
from scripts.encoders.tiny_vit import NECK_SIDE, TinyViTEncoder
from scripts.errors import WeightsError
from scripts.weights.loading import load_parameters, renamed_name

# Names of Hugging Face's SamModel, and Meta's.
_FROM_HUGGING_FACE = (
    (r"^shared_image_embedding\.positional_embedding$", "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"),
    (r"\.point_embed\.", ".point_embeddings."),
    (r"\.mask_embed\.conv1\.", ".mask_downscaling.0."),
    (r"\.mask_embed\.layer_norm1\.", ".mask_downscaling.1."),
    (r"\.mask_embed\.conv2\.", ".mask_downscaling.3."),
    (r"\.mask_embed\.layer_norm2\.", ".mask_downscaling.4."),
    (r"\.mask_embed\.conv3\.", ".mask_downscaling.6."),
    (r"\.upscale_conv1\.", ".output_upscaling.0."),
    (r"\.upscale_layer_norm\.", ".output_upscaling.1."),
    (r"\.upscale_conv2\.", ".output_upscaling.3."),
    (r"(mlps\.\d|_head)\.layers\.0\.", r"\1.layers.1."),
    (r"(mlps\.\d|_head)\.proj_in\.", r"\1.layers.0."),
    (r"(mlps\.\d|_head)\.proj_out\.", r"\1.layers.2."),
    (r"\.layer_norm_final_attn\.", ".norm_final_attn."),
    (r"\.layer_norm(\d)\.", r".norm\1."),
)

# Meta's names, and ours.
_RENAMES = (
    (r"^prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$", "prompts.frequencies"),
    (r"^prompt_encoder\.not_a_point_embed\.weight$", "prompts.padding"),
    (r"^prompt_encoder\.no_mask_embed\.weight$", "prompts.no_mask"),
    (r"^prompt_encoder\.mask_downscaling\.", "prompts.shrink."),
    (r"^mask_decoder\.iou_token\.weight$", "masks.quality_token"),
    (r"^mask_decoder\.mask_tokens\.weight$", "masks.mask_tokens"),
    (r"^mask_decoder\.transformer\.layers\.", "masks.blocks."),
    (r"^mask_decoder\.transformer\.final_attn_token_to_image\.", "masks.last_attention."),
    (r"^mask_decoder\.transformer\.norm_final_attn\.", "masks.last_norm."),
    (r"^mask_decoder\.output_upscaling\.", "masks.enlarge."),
    (r"^mask_decoder\.output_hypernetworks_mlps\.(\d)\.layers\.0\.", r"masks.mask_heads.\1.0."),
    (r"^mask_decoder\.output_hypernetworks_mlps\.(\d)\.layers\.1\.", r"masks.mask_heads.\1.2."),
    (r"^mask_decoder\.output_hypernetworks_mlps\.(\d)\.layers\.2\.", r"masks.mask_heads.\1.4."),
    (r"^mask_decoder\.iou_prediction_head\.layers\.0\.", "masks.quality_head.0."),
    (r"^mask_decoder\.iou_prediction_head\.layers\.1\.", "masks.quality_head.2."),
    (r"^mask_decoder\.iou_prediction_head\.layers\.2\.", "masks.quality_head.4."),
    (r"\.self_attn\.", ".self_attention."),
    (r"\.cross_attn_token_to_image\.", ".to_image."),
    (r"\.cross_attn_image_to_token\.", ".to_tokens."),
    (r"\.norm1\.", ".norms.0."),
    (r"\.norm2\.", ".norms.1."),
    (r"\.norm3\.", ".norms.2."),
    (r"\.norm4\.", ".norms.3."),
    (r"\.mlp\.lin1\.", ".feed_forward.0."),
    (r"\.mlp\.lin2\.", ".feed_forward.2."),
    (r"\.q_proj\.", ".query."),
    (r"\.k_proj\.", ".key."),
    (r"\.v_proj\.", ".value."),
    (r"\.out_proj\.", ".output."),
)
SAM_ENCODERS = (TinyViTEncoder, SamEncoder)
_POINT = "prompt_encoder.point_embeddings."


class Segmenter(nn.Module):
    """Prompt encoder and mask decoder for one encoder's features.

    Args:
        input_size: side of the square that the encoder sees; grid: side of its feature map.
    """

    def __init__(self, *, input_size: int, grid: int) -> None:
        super().__init__()
        self.prompts = PromptEncoder(input_size=input_size, grid=grid)
        self.masks = MaskDecoder()

    def forward(self, features: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """One mask a box.

        Args:
            features: ``[1, 256, g, g]``; boxes: ``[B, 4]`` (left, top, right, bottom), pixels of the encoder's square.

        Returns:
            Logits ``[B, 4g, 4g]``, positive inside, and expected intersection over union ``[B]``.
        """
        sparse, dense = self.prompts(boxes=boxes)
        logits, quality = self.masks(features, self.prompts.grid_places(), sparse, dense)
        return logits[:, 0], quality[:, 0]


def segmenter_for(encoder: FrozenEncoder) -> Segmenter:
    """The mask decoder that was trained with ``encoder``, from the checkpoint it came from, in eval mode on its device.

    Raises:
        WeightsError: ``encoder`` is no SAM encoder, has random or tuned weights, or its checkpoint has no mask decoder.
    """
    if not isinstance(encoder, SAM_ENCODERS):
        raise WeightsError(f"{type(encoder).__name__} has no mask decoder: regions need a SAM encoder")
    weights = encoder.weights_source
    if weights is None:
        raise WeightsError("the SAM encoder has random weights, and no mask decoder was trained with those")
    state = weights_state(weights, "detail_encoder")
    if not _same_neck(encoder, state):
        raise WeightsError(
            f"the mask decoder of {weights} was trained with this encoder as it was there, and it has been tuned since"
        )
    side = NECK_SIDE if isinstance(encoder, TinyViTEncoder) else encoder.input_size // PATCH
    segmenter = Segmenter(input_size=encoder.input_size, grid=side)
    return load_segmenter(segmenter, state, source=str(weights)).to(encoder.mean.device)


def load_segmenter(segmenter: Segmenter, state: Mapping[str, Tensor], *, source: str) -> Segmenter:
    """Load a checkpoint's prompt encoder and mask decoder; the rest of it is passed over.

    Raises:
        WeightsError: a parameter is missing or of another shape.
    """
    load_parameters(segmenter, _our_names(state), source=source, required=set(segmenter.state_dict()))
    return segmenter.eval().requires_grad_(False)


def _our_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Prompt encoder and mask decoder of a checkpoint under the names of :class:`Segmenter`."""
    if "shared_image_embedding.positional_embedding" in state:
        state = {renamed_name(name, _FROM_HUGGING_FACE): value for name, value in state.items()}
    parts = {
        name: value
        for name, value in state.items()
        if name.startswith(("prompt_encoder.", "mask_decoder.")) and not name.startswith("prompt_encoder.shared_")
    }
    kinds = [parts.pop(f"{_POINT}{index}.weight") for index in range(4) if f"{_POINT}{index}.weight" in parts]
    renamed = {renamed_name(name, _RENAMES): value for name, value in parts.items()}
    return renamed | ({"prompts.kinds": torch.cat(kinds)} if kinds else {})


def _same_neck(encoder: FrozenEncoder, state: Mapping[str, Tensor]) -> bool:
    """Whether the last convolution before the features is the checkpoint's: a decoder reads its own encoder only."""
    neck = encoder.neck if isinstance(encoder, TinyViTEncoder) else encoder.network.neck
    own = neck[2].weight
    names = ("image_encoder.neck.2.weight", "vision_encoder.neck.conv2.weight")
    theirs = next((state[name] for name in names if name in state), None)
    return theirs is not None and theirs.shape == own.shape and torch.equal(theirs.to(own), own)
