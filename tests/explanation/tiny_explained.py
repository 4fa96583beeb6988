"""A network of known reliance: one word of its caption depends on one patch of the image and on nothing else."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from scripts.encoders.frozen import FrozenEncoder
from scripts.networks.branch import Branch
from scripts.networks.caption_network import CaptionNetwork
from scripts.networks.language_model import LanguageModel
from scripts.networks.qformer import QFormer

VOCABULARY, PAD, END, WIDTH, QUERIES = 24, 0, 1, 16, 4
GRID = 4


def tokenizer() -> PreTrainedTokenizerFast:
    """Words ``w2`` to ``w23``."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {"<pad>": PAD, "<end>": END} | {f"w{number}": number for number in range(2, VOCABULARY)}
    fast = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=fast, pad_token="<pad>", eos_token="<end>", unk_token="<pad>")


class PatchEncoder(FrozenEncoder):
    """Mean colour of each of 4 x 4 patches, three channels padded to ``width``; optionally a class token in front."""

    def __init__(self, *, width: int = 8, class_token: bool = False, channel: bool = False) -> None:
        super().__init__(
            width=GRID * GRID if channel else width, grid=None if channel else (GRID, GRID),
            token_count=width if channel else None, leading_tokens=int(class_token), input_size=16,
            mean=(0.0,) * 3, std=(1.0,) * 3,
        )  # fmt: skip
        self.lift = nn.Linear(3, width)
        self.class_token = class_token
        self.channel = channel
        self._freeze(0)

    def block_groups(self) -> list[list[nn.Module]]:
        return [[self.lift]]

    def encode(self, pixels: Tensor) -> Tensor:
        patches = nn.functional.adaptive_avg_pool2d(pixels, GRID).flatten(2).transpose(1, 2)
        tokens = self.lift(patches)
        if self.channel:
            return tokens.transpose(1, 2)
        return torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1) if self.class_token else tokens


def network(
    encoders: dict[str, FrozenEncoder] | None = None, *, absorbed: bool = False, seed: int = 0
) -> CaptionNetwork:
    """Random weights, wide enough for every part to matter."""
    torch.manual_seed(seed)
    encoders = encoders or {"general": PatchEncoder()}
    branches = {}
    for name, encoder in encoders.items():
        qformer = QFormer(
            encoder_width=encoder.width, width=WIDTH, layers=3, heads=2, intermediate=32, queries=QUERIES, text=False,
            dropout=0.0, absorbed=absorbed,
        )  # fmt: skip
        branches[name] = Branch(encoder=encoder, qformer=qformer, token_positions=True)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=64, pad_token_id=PAD, bos_token_id=END, eos_token_id=END,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    made = CaptionNetwork(branches=branches, language_model=LanguageModel(model=model, tokenizer=tokenizer()))
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if parameter.ndim > 1 and (".encoder." not in name or ".lift." in name):  # real encoders keep their weights
                parameter.normal_(0, 0.3)
            if name.endswith("token_positions"):
                parameter.normal_(0, 0.5)
    return made.eval()


IDS = torch.tensor([[5, 9, 12, END]])
LENGTHS = torch.tensor([4])


def planted(patch: int) -> CaptionNetwork:
    """A network whose queries look at ``patch`` (row by row) only: its position is the one that keys point along.

    Query 0 reads the patch and is the only one that the language model can tell apart; the other queries are cut off
    from the prefix by a projection of zeros.
    """
    made = network()
    branch = made.branches["general"]
    with torch.no_grad():
        branch.token_positions.zero_()
        branch.token_positions[patch, 0] = 60.0  # survives the norm as the direction e0
        branch.token_norm.weight.fill_(1.0)
        branch.token_norm.bias.zero_()
        for layer in branch.qformer.layers:
            cross = layer.cross_attention
            if cross is None:
                continue
            cross.query.weight.zero_()
            cross.query.bias.fill_(4.0)
            cross.key.weight.zero_()
            cross.key.weight[:, 0] = 1.0  # keys measure e0
            cross.key.bias.zero_()
    return made
