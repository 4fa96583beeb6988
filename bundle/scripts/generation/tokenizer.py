"""A tokenizer file without `transformers`: what captioning uses of a `PreTrainedTokenizerFast`, by the same library.

`llama` says what the start without `transformers` saves, and `benchmarks/start.py` measures it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer
from torch import Tensor

from scripts.errors import WeightsError

MARKS = ("bos_token", "eos_token", "unk_token", "pad_token")


class FileTokenizer:
    """`tokenizer.json` and `tokenizer_config.json` of a folder.

    Raises:
        WeightsError: a file is absent or damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            named = json.loads((folder / "tokenizer_config.json").read_text())
        except Exception as error:  # the library raises bare exceptions
            raise WeightsError(f"{folder} holds no tokenizer: {error}") from None
        self.bos_token, self.eos_token, self.unk_token, self.pad_token = (named.get(mark) for mark in MARKS)

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    def __call__(self, text: str | Sequence[str], add_special_tokens: bool = True) -> dict[str, list]:
        """`{"input_ids": ids}` of a text, or of each."""
        if isinstance(text, str):
            return {"input_ids": self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids}
        encoded = self._tokenizer.encode_batch(list(text), add_special_tokens=add_special_tokens)
        return {"input_ids": [one.ids for one in encoded]}

    @property
    def eos_token_id(self) -> int | None:
        return self._id(self.eos_token)

    @property
    def pad_token_id(self) -> int | None:
        return self._id(self.pad_token)

    @property
    def all_special_tokens(self) -> list[str]:
        """Marks that the file names, each once."""
        return [token for token in dict.fromkeys(getattr(self, mark) for mark in MARKS) if token is not None]

    @property
    def all_special_ids(self) -> list[int]:
        return [self._id(token) for token in self.all_special_tokens]

    def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
        return [self._tokenizer.id_to_token(int(number)) for number in ids]

    def decode(
        self, ids: Sequence[int] | Tensor, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool = False
    ) -> str:
        """The text of token ids; spaces are as the tokens have them, whatever the last option says."""
        return self._tokenizer.decode(_listed(ids), skip_special_tokens=skip_special_tokens)

    def batch_decode(self, ids: Iterable[Sequence[int]] | Tensor, skip_special_tokens: bool = False) -> list[str]:
        """The text of each row."""
        return self._tokenizer.decode_batch(_listed(ids), skip_special_tokens=skip_special_tokens)

    def _id(self, token: str | None) -> int | None:
        return None if token is None else self._tokenizer.token_to_id(token)


def _listed(ids: Sequence | Tensor) -> list:
    return ids.tolist() if isinstance(ids, Tensor) else [_listed(i) if isinstance(i, Tensor) else i for i in ids]
