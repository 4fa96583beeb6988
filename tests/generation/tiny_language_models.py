"""Small random language models whose captions vary: wide initial weights, and an end token that comes early."""

from __future__ import annotations

import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, OPTConfig

VOCABULARY, WIDTH, END, PAD = 199, 32, 5, 1

CONFIGS = {
    "opt": lambda: OPTConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, ffn_dim=64, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=128, word_embed_proj_dim=WIDTH, pad_token_id=PAD, bos_token_id=2, eos_token_id=END,
        dropout=0.1,
    ),
    "opt-350m-like": lambda: OPTConfig(
        vocab_size=VOCABULARY, hidden_size=48, ffn_dim=64, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=128, word_embed_proj_dim=WIDTH, do_layer_norm_before=False, pad_token_id=PAD,
        bos_token_id=2, eos_token_id=END,
    ),
    "llama": lambda: LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, pad_token_id=PAD, bos_token_id=2, eos_token_id=END,
        tie_word_embeddings=True,
    ),
    "gpt2": lambda: GPT2Config(
        vocab_size=VOCABULARY, n_embd=WIDTH, n_layer=3, n_head=4, n_positions=128, pad_token_id=PAD, bos_token_id=2,
        eos_token_id=END,
    ),
}  # fmt: skip

# Wide enough for varied captions, not so wide that attention looks at one position only.
SPREAD = {"opt": 0.35, "opt-350m-like": 0.1, "llama": 0.35, "gpt2": 0.35}
# What to add to the end token's logit so that captions of a batch end at many places (asserted in the tests).
EARLY_END = {"opt": 5.5, "opt-350m-like": 2.5, "llama": 4.0, "gpt2": 4.0}


def tiny_model(name: str, *, early_end: bool = True, seed: int = 3, attention: str = "sdpa") -> torch.nn.Module:
    """A random model of architecture `name`; with `early_end`, captions have many lengths."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(CONFIGS[name](), attn_implementation=attention).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, SPREAD[name])
        head = torch.nn.Linear(model.lm_head.in_features, VOCABULARY)
        head.weight.normal_(0, 0.35)  # not tied to the embedding: a tied random head likes to repeat the last token
        head.bias.zero_()
        head.bias[END] = EARLY_END[name] if early_end else 0.0
    model.lm_head = head
    return model


def prefixes(rows: int, length: int = 7, seed: int = 1) -> torch.Tensor:
    return torch.randn(rows, length, WIDTH, generator=torch.Generator().manual_seed(seed))


def left_padding(rows: int, length: int = 7) -> torch.Tensor:
    """Mask in which row r has `r % 4` padding positions on the left."""
    return torch.arange(length)[None, :] >= (torch.arange(rows) % 4)[:, None]


def reference(model: torch.nn.Module, prefix: torch.Tensor, mask: torch.Tensor | None = None, **values) -> torch.Tensor:
    """`transformers.generate` on the same prefix: `[B*R, T]`, padded with `PAD` to `max_new_tokens`."""
    values.setdefault("max_new_tokens", 12)
    values = {"top_k": 0, "eos_token_id": END, "pad_token_id": PAD, **values}
    tokens = model.generate(inputs_embeds=prefix, attention_mask=mask if mask is None else mask.long(), **values)
    return torch.nn.functional.pad(tokens, (0, values["max_new_tokens"] - tokens.shape[1]), value=PAD)
