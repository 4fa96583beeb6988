"""Small parts that stand in for downloaded weights when configs are built: named by ``_target_`` in tests."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import OPTConfig, OPTForCausalLM, PreTrainedTokenizerFast

from scripts.encoders.clip import ClipEncoder
from scripts.encoders.sam import SamEncoder
from scripts.encoders.sam_vit import SamSize
from scripts.networks.language_model import LanguageModel

WORDS = ("ct", "mr", "x-ray", "of", "the", "chest", "head", "image", "one", "two", "three", "four", ".")


def word_tokenizer(**special: str) -> PreTrainedTokenizerFast:
    tokens = [*special.values(), *WORDS]
    fast = Tokenizer(models.WordLevel({token: index for index, token in enumerate(tokens)}, unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=fast, **special)


def bert_tokenizer() -> PreTrainedTokenizerFast:
    return word_tokenizer(pad_token="[PAD]", unk_token="<unk>", cls_token="[CLS]", sep_token="[SEP]", bos_token="[DEC]")


def language_model(lora_rank: int = 0, adapters: str = "", **_: object) -> LanguageModel:
    torch.manual_seed(1)
    tokenizer = word_tokenizer(pad_token="<pad>", unk_token="<unk>", eos_token="</s>")
    model = OPTForCausalLM(
        OPTConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            ffn_dim=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=128,
            word_embed_proj_dim=32,
            dropout=0.0,  # LoRA puts the model in train mode: its own dropout would be noise between two runs
            pad_token_id=0,
            bos_token_id=2,
            eos_token_id=2,
        )
    )
    return LanguageModel(model=model, tokenizer=tokenizer, lora_rank=lora_rank, adapters=adapters)


def clip(trainable_blocks: int = 0, **_: object) -> ClipEncoder:
    torch.manual_seed(2)
    size = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    return ClipEncoder(config={**size, "image_size": 32, "patch_size": 16}, trainable_blocks=trainable_blocks)


def sam(layout: str, pool: int, trainable_blocks: int = 0, **_: object) -> SamEncoder:
    torch.manual_seed(3)
    size = SamSize(width=24, depth=2, heads=2, global_blocks=(1,))
    return SamEncoder(size=size, input_size=128, layout=layout, pool=pool, trainable_blocks=trainable_blocks)
