"""How good a pocket base is before any fine-tuning: held-out losses by source, pass rates by curriculum.

Both use documents that were kept out of training by their text (curricula) or their file (standard library). The
pass rate asks for the completion by greedy decoding and counts exact equality: the skill itself, not its likelihood.
The losses of an encoder-decoder are those of its targets; text without a question has no pass rate.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast, T5ForConditionalGeneration

from benchmarks.pocket.corpus import BOS, EOS, PAD, ROW_TOKENS, document
from benchmarks.pocket.curricula import ALL_CURRICULA, CURRICULA, Item, draw
from benchmarks.pocket.packed_pairs import pair_loss, target_tokens
from benchmarks.pocket.pairs import encode_pairs, pack_pairs

_BATCH = 64


def document_loss(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> float:
    """Mean loss over all tokens of the texts, `<eos>` included, in nats per token.

    Args:
        model: In eval mode; the loss is computed in the model's own precision, summed in fp32.
        tokenizer: The model's.
        texts: Documents; each is cut to the length that training used.

    Returns:
        The sum of the token losses over the number of predicted tokens.
    """
    device = next(model.parameters()).device
    total, counted = 0.0, 0
    for first in range(0, len(texts), _BATCH):
        encoded = tokenizer(texts[first : first + _BATCH], add_special_tokens=False)["input_ids"]
        rows = [torch.tensor([BOS, *tokens, EOS][:ROW_TOKENS]) for tokens in encoded]
        batch = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD).to(device)
        with torch.inference_mode():
            logits = model(input_ids=batch[:, :-1], use_cache=False).logits
            total += cross_entropy(
                logits.flatten(0, 1).float(), batch[:, 1:].flatten(), ignore_index=PAD, reduction="sum"
            ).item()
        counted += int((batch[:, 1:] != PAD).sum())
    return total / counted


def held_out_losses(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    sources: list[str],
    *,
    documents: int,
    seed: int = 0,
) -> dict[str, float]:
    """Loss of each source on its first held-out documents, in nats per token."""
    return {
        source: document_loss(
            model, tokenizer, [document(source, index, seed=seed, held_out=True) for index in range(documents)]
        )
        for source in sources
    }


def held_out_pair_losses(
    model: T5ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    sources: list[str],
    *,
    documents: int,
    seed: int = 0,
) -> dict[str, float]:
    """Loss of an encoder-decoder on each source's first held-out documents, in nats per token of their targets."""
    device = next(model.parameters()).device
    losses: dict[str, float] = {}
    for source in sources:
        pairs = encode_pairs(source, 0, documents, tokenizer.backend_tokenizer, seed=seed, held_out=True)
        rows = pack_pairs(pairs)
        total, counted = 0.0, 0
        for first in range(0, len(rows), _BATCH):
            batch = torch.from_numpy(rows[first : first + _BATCH].astype(np.int64))
            with torch.inference_mode():
                total += pair_loss(model, batch.to(device)).item() * target_tokens(batch)
            counted += target_tokens(batch)
        losses[source] = total / counted
    return losses


def complete(
    model: LlamaForCausalLM | T5ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    prompts: list[str],
    *,
    max_new_tokens: int,
) -> list[str]:
    """Complete prompts by greedy decoding, each up to `<eos>` or `max_new_tokens`."""
    device = next(model.parameters()).device
    completions: list[str] = []
    for first in range(0, len(prompts), 4 * _BATCH):
        batch = tokenizer(prompts[first : first + 4 * _BATCH], padding=True, return_tensors="pt")
        with torch.inference_mode():
            output = model.generate(
                input_ids=batch["input_ids"].to(device),
                attention_mask=batch["attention_mask"].to(device),
                max_new_tokens=max_new_tokens,
                do_sample=False,
            )
        start = 0 if model.config.is_encoder_decoder else batch["input_ids"].shape[1]
        completions += tokenizer.batch_decode(output[:, start:], skip_special_tokens=True)
    return completions


def pass_rates(
    model: LlamaForCausalLM | T5ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    *,
    items: int,
    seed: int = 0,
    curricula: Iterable[str] = tuple(CURRICULA),
) -> dict[str, float]:
    """Share of held-out items whose greedy completion equals the right one, by curriculum; stories also by steps."""
    rates: dict[str, float] = {}
    for name in curricula:
        drawn = [draw(name, ALL_CURRICULA[name], index, seed=seed, held_out=True) for index in range(items)]
        if not drawn[0].prompt:
            continue
        given = complete(model, tokenizer, [item.prompt for item in drawn], max_new_tokens=72)
        right = [answer == item.completion for item, answer in zip(drawn, given, strict=True)]
        rates[name] = sum(right) / items
        if name == "stories":
            rates |= _by_steps(drawn, right)
    return rates


def _by_steps(items: list[Item], right: list[bool]) -> dict[str, float]:
    grouped: dict[int, list[bool]] = {}
    for item, passed in zip(items, right, strict=True):
        grouped.setdefault(item.completion.count("\n"), []).append(passed)
    return {
        f"stories of {steps} step{'s' * (steps > 1)}": sum(passed) / len(passed)
        for steps, passed in sorted(grouped.items())
    }
