"""Language models of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from torch import nn

from ...data.errors import InputError
from .encoder import NetworkEncoder
from .hub import find_model
from .media import Unusable, first_line
from .network import Network, load_module, pooled
from .options import Options

# Some of these are words or pieces of words in any vocabulary.
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model", "tokenizer_config.json")


class TextEncoder(NetworkEncoder):
    """BERT or another encoder of texts.

    Features are the last hidden states, [CLS] and [SEP] or the like included, padding excluded.
    """

    def __init__(self, model: str, options: Options) -> None:
        folder = find_model(model, options.revision)
        module, config = load_module(folder.path, "text")
        self.tokenizer = _load_tokenizer(folder.path, module)
        self.max_length = options.max_length
        _check_length(self.max_length, self.tokenizer, module, config, folder.name)
        network = Network(module, options.device, options.precision)
        versions = {"transformers": transformers.__version__}
        super().__init__("text", folder.name, folder.revision, network, options, versions)
        self.about["max_length"] = self.max_length
        self.try_out()
        if self.pooling == "cls":
            self._check_first_token(folder.name)

    def _check_first_token(self, name: str) -> None:
        """Refuse a model whose first token sees nothing of the text behind it, as GPT's.

        Raises:
            InputError: another text with the same beginning gives the same features.
        """
        short, long = self.encode(["a text", "a text that goes on"])
        if np.allclose(short, long, atol=1e-6):
            raise InputError(
                f"the first token of {name} sees nothing of the text behind it, so cls would give "
                "texts with one beginning the same features: use --pooling mean or tokens"
            )

    def example(self) -> str:
        """See :class:`.NetworkEncoder`."""
        return "a text"

    def read(self, source: Any) -> str:
        """See :class:`.Encoder`."""
        if not str(source).strip():
            raise Unusable("the text is empty")
        return str(source)

    def size(self, source: Any) -> float:
        """Give the number of characters."""
        return len(str(source))

    def encode(self, inputs: Sequence[str]) -> list[np.ndarray]:
        """See :class:`.Encoder`."""
        tokens = self.tokenizer(
            list(inputs),
            truncation=True,
            max_length=self.max_length,
            padding=True,
            return_attention_mask=True,
            return_tensors="pt",
        )
        hidden = self.network(**tokens)
        kept = tokens["attention_mask"].bool()
        return [
            pooled(states[mask], self.pooling).numpy()
            for states, mask in zip(hidden, kept, strict=True)
        ]


def _load_tokenizer(folder: Path, module: Any) -> Any:
    if not any(any(folder.glob(name)) for name in _TOKENIZER_FILES):
        raise _no_tokenizer(folder)
    try:
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, padding_side="right"
        )
        knows_words = _knows_words(tokenizer)
    except Exception as error:  # a package it needs, damaged files
        raise InputError(
            f"the tokenizer in {folder} cannot be loaded ({first_line(error)})"
        ) from error
    if tokenizer.pad_token is None:
        # Padding is masked, so any token will do.
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if not knows_words:
        raise _no_tokenizer(folder)
    known = module.get_input_embeddings().num_embeddings
    if len(tokenizer) > known:
        raise InputError(
            f"the tokenizer in {folder} knows {len(tokenizer)} tokens, the model {known}; they do "
            "not belong together"
        )
    return tokenizer


def _no_tokenizer(folder: Path) -> InputError:
    return InputError(
        f"{folder} has no tokenizer with words in it (tokenizer.json, vocab.txt, vocab.json with "
        "merges.txt, or spiece.model): all texts would have the same features; copy these files "
        "from where the model is from"
    )


def _knows_words(tokenizer: Any) -> bool:
    """Without its vocabulary, transformers makes a tokenizer that takes all words for unknown."""
    # More than the mark of a word's begin, which is there even so.
    return len(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids)) > 2


def _check_length(length: int, tokenizer: Any, module: Any, config: Any, name: str) -> None:
    known = (tokenizer.model_max_length, _places(module, config))
    longest = min((number for number in known if number), default=length)
    if length > longest:
        raise InputError(f"max_length is {length}, but {name} takes at most {longest} tokens")
    if length < 4:
        raise InputError(f"max_length is {length}; with less than 4 tokens no text is left")


def _places(module: Any, config: Any) -> int | None:
    """How many tokens have a learned position; None where positions are not learned."""
    for name, table in module.named_modules():
        if name.endswith("position_embeddings") and isinstance(table, nn.Embedding):
            # RoBERTa and its kin count from behind the place of padding: 514 rows, 512 tokens.
            taken = 0 if table.padding_idx is None else table.padding_idx + 1
            return table.num_embeddings - taken
    return getattr(config, "max_position_embeddings", None)
