"""Regions of words: SAM's mask decoder outlines a box around the peak of a word's map.

LiteMedSAM and MedSAM were trained with boxes, so boxes are what they get. A region says what stands where a word rests
most; it is not a finding that was segmented.

Shape legend: W words, V views, h x w the map's grid, S side of the encoder's square, g side of its feature map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scripts.encoders.frozen import FrozenEncoder
from scripts.encoders.sam_decoder.decoder_weights import SAM_ENCODERS, Segmenter, segmenter_for
from scripts.errors import WeightsError
from scripts.networks.caption_network import CaptionNetwork


def peak_box(heat: Tensor, size: int, *, least: float = 0.5) -> tuple[tuple[float, float, float, float], Tensor]:
    """Box (left, top, right, bottom) around the peak of ``heat`` ``[h, w]``, in pixels of a square of side ``size``.

    It holds the cells that touch the peak, directly or through others (also corner to corner), and lie above ``least``
    of the way from the map's mean to its peak.

    Returns:
        The box, and those cells as bool ``[h, w]``.
    """
    height, width = heat.shape
    peak = int(heat.argmax())
    high = heat >= heat.mean() + least * (heat.max() - heat.mean())
    found = torch.zeros_like(high)
    found.view(-1)[peak] = True
    while True:
        near = torch.nn.functional.max_pool2d(found[None, None].float(), 3, stride=1, padding=1)[0, 0].bool()
        grown = (near & high) | found
        if bool((grown == found).all()):
            break
        found = grown
    rows, columns = found.any(1).nonzero()[:, 0], found.any(0).nonzero()[:, 0]
    cell_height, cell_width = size / height, size / width
    box = (
        float(columns[0]) * cell_width,
        float(rows[0]) * cell_height,
        float(columns[-1] + 1) * cell_width - 1,
        float(rows[-1] + 1) * cell_height - 1,
    )
    return box, found


@dataclass(frozen=True)
class RegionFinder:
    """Regions in one image, from the features of a SAM branch. The image's encoder pass runs at the first question.

    Attributes:
        branch: name of the SAM branch whose maps give the peaks.
        encoder: its encoder.
        segmenter: the mask decoder trained with that encoder.
    """

    branch: str
    encoder: FrozenEncoder
    segmenter: Segmenter

    @torch.no_grad()
    def regions(self, image: Tensor, maps: Tensor) -> Tensor:
        """Logits ``[W, V, 4g, 4g]`` over the letterboxed square, positive inside; -inf in views without the peak.

        A word without a map (all zero) has no region: -inf everywhere.

        Args:
            image: ``[V, 3, S', S']`` in [0, 1]; maps: ``[W, h, w]`` (one view) or ``[W, V, h, w]`` of this branch.
        """
        maps = maps[:, None] if maps.ndim == 3 else maps
        side = 4 * self.segmenter.prompts.grid
        found = torch.full((len(maps), maps.shape[1], side, side), float("-inf"))
        best = maps.flatten(2).amax(-1).argmax(1)
        device = self.encoder.mean.device
        for view in best.unique().tolist():
            words = ((best == view) & (maps.flatten(1).amax(-1) > 0)).nonzero()[:, 0]
            if not len(words):
                continue
            pixels = self.encoder.prepare(image[view : view + 1].to(device))
            features = self.encoder.features(pixels).float()
            boxes = [peak_box(maps[word, view], self.encoder.input_size)[0] for word in words.tolist()]
            unique = list(dict.fromkeys(boxes))  # words often share their peak
            logits = self.segmenter(features, torch.tensor(unique, device=device))[0].cpu()
            for word, box in zip(words.tolist(), boxes, strict=True):
                found[word, view] = logits[unique.index(box)]
        return found


def region_finder(network: CaptionNetwork) -> tuple[RegionFinder | None, str]:
    """The finder of the network's SAM branch, kept with the network, or None and the reason."""
    if "_region_finder" not in network.__dict__:
        network.__dict__["_region_finder"] = _find(network)
    return network.__dict__["_region_finder"]


def sam_branch(network: CaptionNetwork) -> str | None:
    """Name of the first branch with a SAM encoder and tokens that are positions."""
    for name, branch in network.branches.items():
        if branch.encoder.grid is not None and isinstance(branch.encoder, SAM_ENCODERS):
            return name
    return None


def _find(network: CaptionNetwork) -> tuple[RegionFinder | None, str]:
    name = sam_branch(network)
    if name is None:
        return None, "no branch has a SAM encoder with spatial tokens, so there is no mask decoder to draw regions"
    encoder = network.branches[name].encoder
    try:
        return RegionFinder(name, encoder, segmenter_for(encoder)), ""
    except WeightsError as error:
        return None, str(error)
