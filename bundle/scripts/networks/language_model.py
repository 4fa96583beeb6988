"""The frozen causal language model that writes the caption: any ``transformers`` causal LM behind a small face.

Shape legend: B captions, P prefix embeddings, T caption tokens, D language-model width, V vocabulary.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scripts.distributed import gather
from scripts.errors import InputError, WeightsError
from scripts.generation.decoders import base_model
from scripts.kernels.frozen_head import frozen_head_loss
from scripts.kernels.int8 import PRECISIONS, to_int8
from scripts.networks.lora import adapters_in, add_adapters, follow_alpha, with_adapters

_WORDS_MEASURED = 1024  # rows of the vocabulary that its words' size is taken from


class LanguageModel(nn.Module):
    """A causal LM, frozen unless LoRA is asked for, and its tokenizer.

    Args:
        name: ``"starter"`` (SmolLM2-135M from the starter weights), a local folder, or a hub name that
            ``AutoModelForCausalLM`` reads.
        dtype: ``"float32"``, ``"bfloat16"``, ``"float16"``, or ``"int8"`` (captioning on a CPU only) of the frozen
            weights.
        lora_rank: above 0, train LoRA adapters of this rank on all linear layers (needs ``peft``).
        lora_alpha, lora_dropout: as in LoRA (Hu et al., ICLR 2022). The alpha that a checkpoint holds comes before
            this one.
        adapters: a checkpoint whose LoRA adapters, if it holds any, are added into the weights for good: to caption
            with what ``lora_rank`` trained. ``""`` adds none.
        caption_end: text whose one token ends a caption (BLIP-2 uses a line break with OPT); ``""`` is the tokenizer's
            own end token.
        model, tokenizer: ready-made ones instead of ``name``.

    Raises:
        WeightsError: the model cannot be had, ``adapters`` are another model's, or ``caption_end`` is not one token.
        InputError: an unknown ``dtype``, or int8 or ``adapters`` with LoRA that is to be trained.
    """

    def __init__(
        self,
        *,
        name: str = "starter",
        dtype: str = "float32",
        lora_rank: int = 0,
        lora_alpha: float = 16.0,
        lora_dropout: float = 0.0,
        adapters: str | Path = "",
        caption_end: str = "",
        model: nn.Module | None = None,
        tokenizer: object | None = None,
    ) -> None:
        super().__init__()
        if dtype not in PRECISIONS or (dtype == "int8" and lora_rank > 0):
            listed = ", ".join(PRECISIONS)
            raise InputError(f"language_model_dtype is one of {listed}, and int8 needs lora_rank 0; not {dtype!r}")
        if model is None:
            model, tokenizer = _load(name, without_transformers=lora_rank == 0 and not _transformers_loaded())
        self.adapted = bool(adapters) and _adapt(model, adapters, lora_alpha)
        if self.adapted and lora_rank > 0:  # the checkpoint would fill them with the same adapters a second time
            raise InputError(f"the adapters of {adapters} are part of the weights already: leave lora_rank at 0")
        model = model.to(torch.float32 if dtype == "int8" else getattr(torch, dtype)).requires_grad_(False).eval()
        model = to_int8(model) if dtype == "int8" else model
        self.tunable = lora_rank > 0
        if self.tunable:
            model = with_adapters(model, rank=lora_rank, alpha=lora_alpha, dropout=lora_dropout)
        self.model = model
        self._attention = _attention_of(base_model(self.model))
        self.tokenizer = tokenizer
        if tokenizer is not None and tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        if caption_end:
            tokenizer.eos_token = _only_token(tokenizer, caption_end)
        self.register_load_state_dict_post_hook(_loaded)

    @property
    def width(self) -> int:
        return self.model.get_input_embeddings().embedding_dim

    @property
    def eos_token_id(self) -> int:
        return self.tokenizer.eos_token_id

    @property
    def pad_token_id(self) -> int:
        return self.tokenizer.pad_token_id

    @property
    def marks(self) -> list[int]:
        """Token ids that stand for no text, the end token aside: a chat model's turns, padding, masks."""
        return sorted(set(getattr(self.tokenizer, "all_special_ids", ())) - {self.eos_token_id})

    def train(self, mode: bool = True) -> LanguageModel:
        """Stay in eval mode when frozen: dropout in a frozen model would only add noise."""
        self._attend_explicitly(mode and next(self.model.parameters()).device.type == "cpu")
        return super().train(mode and self.tunable)

    def _attend_explicitly(self, explicit: bool) -> None:
        """Attention of plain products while training on a CPU, PyTorch's fused one else.

        The fused kernel's backward pass takes six times as long there in bfloat16, and longer in float32 too.
        """
        base = base_model(self.model)
        wanted = "eager" if explicit and self._attention == "sdpa" else self._attention
        if wanted != _attention_of(base):
            base.set_attn_implementation(wanted)

    def after_loading(self) -> None:
        """Take up the alpha of loaded adapters; ``load_state_dict`` and ``load_parameters`` call it."""
        if self.tunable:
            follow_alpha(self.model)

    def embed(self, ids: Tensor) -> Tensor:
        """``[B, T] -> [B, T, D]``."""
        return self.model.get_input_embeddings()(ids)

    def projection_from(self, width: int) -> nn.Linear:
        """``[..., width] -> [..., D]``, drawn so that what a layer norm gives comes out as large as words are.

        PyTorch's own start makes a prefix four times as large as the starter's words. Captions then begin with spikes
        of the loss, and how soon a run gets over them is chance (docs/experiments.md).
        """
        projection = nn.Linear(width, self.width)
        rows = self.model.get_input_embeddings().num_embeddings
        words = self.embed(torch.arange(0, rows, max(1, rows // _WORDS_MEASURED), device=self._device))
        nn.init.normal_(projection.weight, std=float(words.float().square().mean().sqrt()) * width**-0.5)
        nn.init.zeros_(projection.bias)
        return projection

    def caption_logits(self, embeddings: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
        """Logits ``[M, V]`` of the positions that ``rows`` ``[B, S]`` marks, without making all the others.

        Gathering rows before the output layer saves its largest tensor. A model that post-processes its logits
        (soft capping, scaling) goes through its own forward instead.
        """
        if self._post_processes:
            return base_model(self.model)(inputs_embeds=embeddings, attention_mask=mask, use_cache=False).logits[rows]
        return base_model(self.model).get_output_embeddings()(self._hidden(embeddings, mask, rows))

    def _hidden(self, embeddings: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
        """States ``[M, D]`` before the output layer, of the positions that ``rows`` ``[B, S]`` marks."""
        blocks = base_model(self.model).base_model
        return blocks(inputs_embeds=embeddings, attention_mask=mask, use_cache=False).last_hidden_state[rows]

    @property
    def _post_processes(self) -> bool:
        config = base_model(self.model).config
        capped = any(getattr(config, key, None) for key in ("final_logit_softcapping", "logit_scale"))
        return capped or getattr(config, "logits_scaling", 1.0) != 1.0

    def loss(
        self,
        prefix: Tensor,
        prefix_mask: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
        label_smoothing: float = 0.0,
    ) -> Tensor:
        """Cross-entropy of the caption tokens after a prefix, averaged over the tokens of all processes' captions.

        Args:
            prefix: ``[B, P, D]``; prefix_mask: ``[B, P]``.
            input_ids: caption with its end token, ``[B, T]``, padded on the right; attention_mask: ``[B, T]``.
            label_smoothing: as in ``torch.nn.functional.cross_entropy``.
        """
        embeddings = torch.cat([prefix, self.embed(input_ids).to(prefix.dtype)], dim=1)
        mask = torch.cat([prefix_mask.to(attention_mask.dtype), attention_mask], dim=1)
        real = attention_mask.bool()
        rows = F.pad(real, (prefix.shape[1] - 1, 1))  # position P - 1 + t predicts caption token t
        embeddings, words = embeddings.to(self.dtype), input_ids[real]
        head = base_model(self.model).get_output_embeddings()
        if type(head) is nn.Linear and not head.weight.requires_grad and not self._post_processes:
            hidden = self._hidden(embeddings, mask, rows)
            total = frozen_head_loss(hidden, head.weight, head.bias, words, label_smoothing)
        else:
            logits = self.caption_logits(embeddings, mask, rows).float()
            total = F.cross_entropy(logits, words, label_smoothing=label_smoothing, reduction="sum")
        return total / gather(real.sum().float()[None]).mean()

    @torch.no_grad()
    def caption_logprobs(self, prefix: Tensor, prefix_mask: Tensor, ids: Tensor) -> Tensor:
        """Natural logarithm of the probability of each token of one caption ``ids`` ``[T]``, ``[T]`` float32.

        Args:
            prefix: ``[1, P, D]``; prefix_mask: ``[1, P]``.
        """
        embeddings = torch.cat([prefix, self.embed(ids[None]).to(prefix.dtype)], dim=1)
        mask = F.pad(prefix_mask, (0, len(ids)), value=1)
        rows = torch.zeros_like(mask, dtype=torch.bool)
        rows[:, prefix.shape[1] - 1 : -1] = True
        logits = self.caption_logits(embeddings.to(self.dtype), mask, rows).float()
        return logits.log_softmax(-1).gather(-1, ids[:, None])[:, 0]

    @property
    def dtype(self) -> torch.dtype:
        return self.model.get_input_embeddings().weight.dtype

    @property
    def _device(self) -> torch.device:
        return self.model.get_input_embeddings().weight.device


def _loaded(module: LanguageModel, _: object) -> None:
    module.after_loading()


def _attention_of(model: nn.Module) -> str | None:
    """Which attention ``transformers`` computes in, None where the model does not say."""
    return getattr(getattr(model, "config", None), "_attn_implementation", None)


def _adapt(model: nn.Module, checkpoint: str | Path, alpha: float) -> bool:
    """Add the adapters that a checkpoint holds; whether it holds any."""
    from scripts.weights.loading import read_state

    found = adapters_in(read_state(checkpoint))
    add_adapters(model, found, alpha=alpha, source=str(checkpoint))
    return bool(found)


def _only_token(tokenizer: object, text: str) -> str:
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False)["input_ids"])
    if len(tokens) != 1:
        raise WeightsError(f"caption_end {text!r} is {len(tokens)} tokens of this language model: choose a text of one")
    return tokens[0]


def _transformers_loaded() -> bool:
    """Whether this process has paid for that import, half of a start, already."""
    return "transformers.modeling_utils" in sys.modules


def _load(name: str, *, without_transformers: bool) -> tuple[nn.Module, object]:
    if name == "starter":
        from scripts.weights.starter import load_language_model

        return load_language_model(without_transformers=without_transformers)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from scripts.weights.pretrained import load_pretrained

    model, report = load_pretrained(AutoModelForCausalLM, name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(f"{name} holds a model but no tokenizer ({reason}): copy its tokenizer files too") from error
    if len(tokenizer) <= len(set(tokenizer.all_special_tokens)):  # what transformers makes of absent files
        raise WeightsError(f"{name} holds a model but no tokenizer with words in it: copy its tokenizer files too")
    report.log()
    return model, tokenizer
