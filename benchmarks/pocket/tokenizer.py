"""The tokenizer of the pocket bases: byte-level BPE with single digits, trained on the corpus itself.

Digits are never merged, so that column arithmetic can be learned from few examples; everything else is split as in
GPT-2 before merging. Byte-level means that any UTF-8 text round-trips. An encoded prompt starts with `<bos>`, as
Llama's does; `<eos>` ends a completion and is the caller's to add.
"""

from __future__ import annotations

from collections.abc import Iterator

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from benchmarks.pocket.corpus import BOS, SOURCE_SHARES, document

SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>")
MAX_LENGTH = 1024


def _sample(characters: int, seed: int) -> Iterator[str]:
    for source, share in SOURCE_SHARES.items():
        taken, index = 0, 0
        while taken < share * characters:
            text = document(source, index, seed=seed)
            taken, index = taken + len(text), index + 1
            yield text


def train_tokenizer(*, vocabulary: int, characters: int, seed: int) -> Tokenizer:
    """Train the tokenizer on the first documents of every source.

    Args:
        vocabulary: Number of tokens, the three special ones and the 256 bytes included.
        characters: Length of the training text, divided among the sources by their shares.
        seed: Seed of the corpus.

    Returns:
        A tokenizer whose digits are single tokens and whose `<pad>`, `<bos>`, `<eos>` are 0, 1, 2.

    Raises:
        ValueError: If the vocabulary cannot hold the bytes and the special tokens.
    """
    smallest = 256 + len(SPECIAL_TOKENS)
    if vocabulary < smallest:
        raise ValueError(f"vocabulary: found {vocabulary}, expected at least {smallest} (256 bytes, special tokens)")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sample(characters, seed), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", BOS)]
    )
    return tokenizer


def as_pretrained(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """Wrap a tokenizer for transformers, with its special tokens and left padding (as generation needs)."""
    pad, bos, eos = SPECIAL_TOKENS
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        bos_token=bos,
        eos_token=eos,
        padding_side="left",
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
    )
