"""A tiny random BLIP-2 of transformers, our captioner started from its folder, and a tokenizer of number words."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2ForImageTextRetrieval,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    OPTConfig,
    PreTrainedTokenizerFast,
)

from scripts.encoders.eva import EvaEncoder
from scripts.networks.branch import Branch
from scripts.networks.caption_network import CaptionNetwork
from scripts.networks.language_model import LanguageModel
from scripts.networks.pretraining_network import PretrainingBranch, PretrainingNetwork
from scripts.networks.qformer import QFormer

VOCABULARY, PAD, BOS, END, IMAGE = 60, 1, 2, 3, 59
QUERIES, LAYERS, HEADS, TEXT_VOCABULARY = 6, 4, 4, 50
QFORMER = {"width": 32, "layers": LAYERS, "heads": HEADS, "intermediate": 64, "queries": QUERIES}


def config(**changes: object) -> Blip2Config:
    return Blip2Config(
        vision_config=Blip2VisionConfig(
            hidden_size=24,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=28,
            patch_size=14,
            initializer_range=0.1,
            layer_norm_eps=1e-5,  # LAVIS's value for the trained norm, and ours; transformers' default is 1e-6
        ),
        qformer_config=Blip2QFormerConfig(
            vocab_size=TEXT_VOCABULARY,
            hidden_size=32,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            intermediate_size=64,
            encoder_hidden_size=24,
            max_position_embeddings=20,
            **({"use_qformer_text_input": True} if changes.get("image_token_index", 0) is None else {}),
        ),
        text_config=OPTConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            ffn_dim=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=128,
            word_embed_proj_dim=32,
            pad_token_id=PAD,
            bos_token_id=BOS,
            eos_token_id=END,
            tie_word_embeddings=False,  # a tied random head likes to repeat the last token
        ),
        **{"num_query_tokens": QUERIES, "image_token_index": IMAGE, "image_text_hidden_size": 16, **changes},
    )


def _spread(model: torch.nn.Module, std: float = 0.3) -> torch.nn.Module:
    """Weights and biases wide enough for every one of them to matter."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator) * std
            norm = "norm" in name.lower() and name.endswith("weight")
            parameter.copy_(1 + 0.3 * noise if norm else noise)
    return model.eval()


def captioner_of_transformers() -> Blip2ForConditionalGeneration:
    return _spread(Blip2ForConditionalGeneration(config()))


def matcher_of_transformers() -> Blip2ForImageTextRetrieval:
    return _spread(Blip2ForImageTextRetrieval(config(image_token_index=None)))


def tokenizer() -> PreTrainedTokenizerFast:
    """Words ``w4`` to ``w58`` and the special tokens of the tiny language model."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    special = {"<s>": 0, "<pad>": PAD, "<bos>": BOS, "<end>": END}
    words = special | {f"w{number}": number for number in range(4, VOCABULARY)}
    fast = Tokenizer(models.WordLevel(words, unk_token="<s>"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=fast, pad_token="<pad>", bos_token="<bos>", eos_token="<end>", unk_token="<s>"
    )


def general_branch(encoder: EvaEncoder, *, text: bool = False, positions: bool = False) -> Branch:
    extra = {"vocabulary": TEXT_VOCABULARY, "max_positions": 20} if text else {}
    qformer = QFormer(encoder_width=encoder.width, text=text, dropout=0.0, **QFORMER, **extra)
    return Branch(encoder=encoder, qformer=qformer, token_positions=positions)


def captioner(model: Blip2ForConditionalGeneration, folder: Path, **options: object) -> CaptionNetwork:
    """Our network over the same frozen parts; its branch and projection are still at random."""
    return CaptionNetwork(
        branches={"general": general_branch(EvaEncoder(weights=folder))},
        language_model=LanguageModel(model=model.language_model, tokenizer=tokenizer()),
        **options,
    ).eval()


def pretraining(folder: Path) -> PretrainingNetwork:
    branch = general_branch(EvaEncoder(weights=folder), text=True)
    module = PretrainingBranch(branch=branch, decoder_token_id=TEXT_VOCABULARY - 1, embedding=16)
    return PretrainingNetwork(branches={"general": module}).eval()
