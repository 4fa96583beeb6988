"""Loads a bundle by MONAI's ``load`` and by our own way, in a process of its own, and prints what each gives.

python loaded_bundle.py BUNDLES NAME IMAGE    # with BUNDLES/NAME on PYTHONPATH
"""

from __future__ import annotations

import gc
import hashlib
import json
import sys
from pathlib import Path

from monai.bundle import ConfigParser, load
from torch import nn

from scripts.predictor import CaptionPredictor


def tensors(network: nn.Module) -> dict[str, str]:
    """Name to a hash of each tensor: parameters and all buffers, those that are not saved included."""
    named = [*network.state_dict().items(), *network.named_buffers()]
    return {name: hashlib.sha256(value.contiguous().cpu().numpy().tobytes()).hexdigest() for name, value in named}


def described(network: nn.Module, image: str) -> dict[str, object]:
    caption = CaptionPredictor(network, device="cpu").caption(image)
    return {"tensors": tensors(network), "caption": caption.text, "logprobs": caption.token_logprobs}


def main() -> None:
    bundles, name, image = sys.argv[1:4]
    root = Path(bundles) / name
    found: dict[str, object] = {}
    try:
        network = load(name, bundle_dir=bundles, workflow_type="inference", device="cpu")
        found["load"] = described(network, image)
        del network
        gc.collect()
    except Exception as error:
        found["refused"] = f"{type(error).__name__}: {error}"
    if "refused" not in found:
        parser = ConfigParser()
        parser.read_config(str(root / "configs" / "inference.json"))
        found["own"] = described(parser.get_parsed_content("network"), image)
        del parser
        gc.collect()
        # after all captions: a training run lets the whole process multiply float32 faster and less exactly
        network = load(name, bundle_dir=bundles, device="cpu")  # its default: the network of configs/train.json
        found["train"] = tensors(network)
        del network
        gc.collect()
        parser = ConfigParser()
        parser.read_config(str(root / "configs" / "train.json"))
        from scripts.checkpoints.stages import trained_network

        network = parser.get_parsed_content("network_def")
        found["own_train"] = tensors(trained_network(network, root / "models" / "model.pt"))
    print("RESULT " + json.dumps(found))


if __name__ == "__main__":
    main()
