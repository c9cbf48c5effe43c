from __future__ import annotations

from typing import Any

import pytest
from transformers import AutoTokenizer

from benchmarks.pocket import POCKET_MODELS
from benchmarks.pocket.curricula import CURRICULA, draw
from benchmarks.pocket.tokenizer import train_tokenizer

TEXTS = (
    "47+38=85\n#### 85",
    "Zoë's naïve café — £5, 日本語, 🙂\ttab\r\nnew line",
    "    return x[::-1]  # reversed\n\n\n",
    " leading and trailing ",
    "",
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(POCKET_MODELS / "pocket-llama", local_files_only=True)


def test_digits_are_single_tokens(tokenizer: Any) -> None:
    digits = {tokenizer(digit, add_special_tokens=False)["input_ids"][0] for digit in "0123456789"}
    assert len(digits) == 10
    for text in ("1234567890", "x12=3", " 47", "10.25", "a1b22"):
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert sum(token in digits for token in tokens) == sum(character.isdigit() for character in text)
    vocabulary = tokenizer.get_vocab()
    assert len(vocabulary) == 4096
    assert not [token for token in vocabulary if len(token) > 1 and set(token) & set("0123456789")]


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_round_trips(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_special_tokens_stand_where_llama_has_them(tokenizer: Any) -> None:
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    plain = tokenizer("cat", add_special_tokens=False)["input_ids"]
    assert tokenizer("cat")["input_ids"] == [1, *plain]
    assert tokenizer.padding_side == "left"
    assert tokenizer.decode([1, *plain, 2], skip_special_tokens=True) == "cat"


@pytest.mark.parametrize("name", CURRICULA)
def test_prompt_and_completion_tokenise_apart_as_they_do_together(tokenizer: Any, name: str) -> None:
    """Else a model asked by the prompt alone would stand before tokens it never saw in training."""
    for index in range(150):
        item = draw(name, CURRICULA[name], index)
        apart = [tokenizer(part, add_special_tokens=False)["input_ids"] for part in (item.prompt, item.completion)]
        assert apart[0] + apart[1] == tokenizer(item.text, add_special_tokens=False)["input_ids"]


def test_a_vocabulary_below_the_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="found 200, expected at least 259"):
        train_tokenizer(vocabulary=200, characters=1_000, seed=0)
