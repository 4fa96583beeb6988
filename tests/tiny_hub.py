"""The models that the paper preset names, tiny and random, in their published layouts: folders in place of a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertForPreTraining,
    Blip2ForConditionalGeneration,
    Blip2ForImageTextRetrieval,
    CLIPConfig,
    CLIPModel,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedTokenizerFast,
    SamConfig,
    SamModel,
)

import tiny_blip2 as tiny

WORDS = ("ct", "mr", "x-ray", "of", "the", "chest", "head", "image", "a", "photo", "dog", "one", "two", "three", "four")
VOCABULARY = 50  # of the text path, [DEC] included


def bert_tokenizer() -> PreTrainedTokenizerFast:
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    tokens += [f"w{number}" for number in range(len(tokens), VOCABULARY - 1)]
    words = Tokenizer(models.WordLevel({token: index for index, token in enumerate(tokens)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=words, **special)


def opt_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes as tokens, as OPT's would fall back to: a line break is one token, ``</s>`` begins and ends texts."""
    tokens = ["<s>", "<pad>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    bytewise = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, []))
    bytewise.pre_tokenizer, bytewise.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    bytewise.add_special_tokens([AddedToken(token, special=True) for token in tokens[:3]])
    special = {"pad_token": "<pad>", "bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=bytewise, **special)


def write_hub(folder: Path) -> dict[str, Any]:
    """Write the models into ``folder``; returns the config values that point there and tell their sizes."""
    opt = OPTConfig(
        vocab_size=len(opt_tokenizer()),
        hidden_size=32,
        word_embed_proj_dim=32,
        ffn_dim=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        dropout=0.0,
        pad_token_id=1,
        bos_token_id=2,
        eos_token_id=2,
    )
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4}
    bert = BertConfig(**text, vocab_size=VOCABULARY - 1)
    vision = {"hidden_size": 24, "mlp_dim": 96, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 64}
    decoder = {"hidden_size": 256, "num_attention_heads": 2, "mlp_dim": 16, "num_hidden_layers": 1}
    sam = SamConfig(vision_config=vision | {"global_attn_indexes": [1]}, mask_decoder_config=decoder)
    retrieval = tiny.config(image_token_index=None)
    retrieval.qformer_config.max_position_embeddings = 512
    clip = CLIPConfig(
        text_config={**text, "vocab_size": 50},
        vision_config={**text, "image_size": 28, "patch_size": 14},
        projection_dim=8,
    )
    made = {
        "blip2-opt": tiny._spread(Blip2ForConditionalGeneration(tiny.config())),
        "blip2-itm": tiny._spread(Blip2ForImageTextRetrieval(retrieval), std=0.1),
        "bert": BertForPreTraining(bert),
        "sam": tiny._spread(SamModel(sam), std=0.1),
        "opt": OPTForCausalLM(opt),
        "clip": CLIPModel(clip),
    }
    for name, model in made.items():
        model.save_pretrained(folder / name, **({"max_shard_size": "20KB"} if name == "opt" else {}))
    bert_tokenizer().save_pretrained(folder / "bert")
    opt_tokenizer().save_pretrained(folder / "opt")
    return {
        "general_encoder_weights": str(folder / "blip2-opt"),
        "general_input_size": 28,
        "detail_encoder_weights": str(folder / "sam"),
        "sam_size": [24, 2, 2, [1]],
        "image_size": 64,
        "text_encoder": str(folder / "bert"),
        "language_model_name": str(folder / "opt"),
        "queries": tiny.QUERIES,
        "qformer_width": 32,
        "qformer_layers": tiny.LAYERS,
        "qformer_heads": tiny.HEADS,
        "qformer_intermediate": 64,
    }
