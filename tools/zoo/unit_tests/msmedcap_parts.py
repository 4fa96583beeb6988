"""Small parts for the zoo's unit tests of msmedcap: images with captions, and networks that need no download."""

import json
import os

import numpy as np
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import OPTConfig, OPTForCausalLM, PreTrainedTokenizerFast

BUNDLE_ROOT = "models/msmedcap"
WORDS = ("axial", "coronal", "ct", "mr", "of", "the", "head", "chest", "showing", "nothing", ".")
SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "eos_token": "</s>"}


def make_data(folder, count=6):
    """Write images and their datalist."""
    entries = []
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 56), dtype=np.uint8)
        Image.fromarray(pixels).save(os.path.join(folder, f"image_{number}.png"))
        words = " ".join(WORDS[(number + step) % (len(WORDS) - 1)] for step in range(4))
        entries.append({"image": f"image_{number}.png", "caption": f"{words} ."})
    with open(os.path.join(folder, "datalist.json"), "w") as file:
        json.dump({"training": entries[:4], "validation": entries[4:]}, file)


def make_language_model(folder):
    """Write a language model of two layers and a tokenizer of a few words; returns the folder."""
    vocabulary = {word: index for index, word in enumerate((*SPECIAL.values(), *WORDS))}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, **SPECIAL).save_pretrained(folder)
    sizes = {"hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 64, "num_hidden_layers": 2}
    config = OPTConfig(
        vocab_size=len(vocabulary), num_attention_heads=4, max_position_embeddings=96, eos_token_id=4, **sizes
    )
    OPTForCausalLM(config).save_pretrained(folder)
    return folder


def tiny(dataset_dir, language_model, output_dir):
    """Overrides for every config of the bundle."""
    clip = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    return {
        "bundle_root": BUNDLE_ROOT,
        "device": "cpu",
        "dataset_dir": dataset_dir,
        "output_dir": output_dir,
        "datalist": os.path.join(dataset_dir, "datalist.json"),
        "batch_size": 2,
        "image_size": 64,
        "queries": 4,
        "qformer_width": 32,
        "qformer_layers": 2,
        "qformer_heads": 4,
        "qformer_intermediate": 64,
        "max_new_tokens": 8,
        "language_model_name": language_model,
        "general_encoder": {
            "_target_": "scripts.encoders.clip.ClipEncoder",
            "config": {**clip, "image_size": 32, "patch_size": 16},
        },
        "detail_encoder": {
            "_target_": "scripts.encoders.sam.SamEncoder",
            "size": "$scripts.encoders.sam_vit.SamSize(width=24, depth=2, heads=2, global_blocks=(1,))",
            "input_size": 128,
        },
    }


def tiny_training(dataset_dir, language_model, output_dir):
    """Overrides of the training configs."""
    training = {"epochs": 1, "warmup_steps": 1, "feature_cache_dir": "", "text_encoder": "", "resume": ""}
    return {**tiny(dataset_dir, language_model, output_dir), **training}
