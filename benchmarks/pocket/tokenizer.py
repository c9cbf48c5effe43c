"""The tokenizer of the pocket bases: byte-level BPE with single digits, trained on the corpus itself.

Digits are never merged, so that column arithmetic can be learned from few examples; everything else is split as in
GPT-2 before merging. Byte-level means that any UTF-8 text round-trips. An encoded prompt starts with `<bos>`, as
Llama's does; `<eos>` ends a completion and is the caller's to add. Where there are sentinels, for an encoder-decoder,
an encoded input ends with `<eos>` instead, as T5's does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from benchmarks.pocket.corpus import BOS, EOS, SOURCE_SHARES, document

SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>")
MAX_LENGTH = 1024


def _sample(characters: int, seed: int, shares: Mapping[str, float]) -> Iterator[str]:
    for source, share in shares.items():
        taken, index = 0, 0
        while taken < share * characters:
            text = document(source, index, seed=seed)
            taken, index = taken + len(text), index + 1
            yield text


def train_tokenizer(
    *,
    vocabulary: int,
    characters: int,
    seed: int,
    shares: Mapping[str, float] = SOURCE_SHARES,
    sentinels: int = 0,
) -> Tokenizer:
    """Train the tokenizer on the first documents of every source.

    Args:
        vocabulary: Number of tokens, the special ones and the 256 bytes included.
        characters: Length of the training text, divided among the sources by their shares.
        seed: Seed of the corpus.
        shares: Share of the training text by source.
        sentinels: Number of sentinels `<extra_id_0>`, `<extra_id_1>` and so on.

    Returns:
        A tokenizer whose digits are single tokens and whose `<pad>`, `<bos>`, `<eos>` are 0, 1, 2, then the sentinels.

    Raises:
        ValueError: If the vocabulary cannot hold the bytes and the special tokens.
    """
    special = [*SPECIAL_TOKENS, *(f"<extra_id_{number}>" for number in range(sentinels))]
    smallest = 256 + len(special)
    if vocabulary < smallest:
        raise ValueError(f"vocabulary: found {vocabulary}, expected at least {smallest} (256 bytes, special tokens)")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sample(characters, seed, shares), trainer)
    if sentinels:
        single, pair, added = "$A <eos>", "$A <eos> $B <eos>", ("<eos>", EOS)
    else:
        single, pair, added = "<bos> $A", "<bos> $A <bos> $B", ("<bos>", BOS)
    tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=[added])
    return tokenizer


def as_pretrained(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """Wrap a tokenizer for transformers, with its special tokens and left padding (as a decoder's generation needs)."""
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
