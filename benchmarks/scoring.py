"""Scores a model on a task by letting it write: greedy generation, then the task's own rule on the text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from benchmarks.encoding import encode_prompt
from benchmarks.tasks import Example, Task


@dataclass(frozen=True, kw_only=True)
class ScoredExample:
    """One generated completion beside its reference; `score` is the task's, in [0, 1]."""

    index: int
    prompt: str
    reference: str
    generated: str
    score: float

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready record."""
        return asdict(self)


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    batch_size: int,
    on_progress: Callable[[float], None] = lambda fraction: None,
) -> list[str]:
    """Return the greedy completion of every prompt, in the prompts' order.

    Args:
        model: A language model in evaluation mode, a decoder or an encoder-decoder.
        tokenizer: Its tokenizer.
        prompts: Texts to continue or to answer.
        max_new_tokens: Where an answer that does not end is cut off.
        batch_size: Prompts at a time; they are grouped by length and padded on the left.
        on_progress: Called with the finished share.
    """
    reads_apart = bool(model.config.is_encoder_decoder)
    encoded = [encode_prompt(prompt, tokenizer, encoder_decoder=reads_apart) for prompt in prompts]
    order = sorted(range(len(prompts)), key=lambda index: len(encoded[index]))
    texts = [""] * len(prompts)
    for start in range(0, len(order), batch_size):
        group = order[start : start + batch_size]
        longest = max(len(encoded[index]) for index in group)
        padding = [longest - len(encoded[index]) for index in group]
        rows = [[tokenizer.pad_token_id] * pad + encoded[index] for pad, index in zip(padding, group, strict=True)]
        mask = [[0] * pad + [1] * (longest - pad) for pad in padding]
        with torch.inference_mode():
            output = model.generate(
                input_ids=torch.tensor(rows, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
                max_new_tokens=max_new_tokens,
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
            )
        # A decoder's output begins with the prompt, that of an encoder-decoder with the start token.
        decoded = tokenizer.batch_decode(output[:, 0 if reads_apart else longest :], skip_special_tokens=True)
        for index, text in zip(group, decoded, strict=True):
            texts[index] = text
        on_progress(min(1.0, (start + batch_size) / len(order)))
    return texts


def score_examples(
    model: Any,
    tokenizer: Any,
    task: Task,
    examples: Sequence[Example],
    *,
    batch_size: int = 256,
    on_progress: Callable[[float], None] = lambda fraction: None,
) -> list[ScoredExample]:
    """Generate an answer to every example and score it by the task's rule."""
    texts = generate(
        model,
        tokenizer,
        [example.prompt for example in examples],
        max_new_tokens=task.recipe.max_new_tokens,
        batch_size=batch_size,
        on_progress=on_progress,
    )
    scores = task.scores(examples, texts)
    return [
        ScoredExample(
            index=index,
            prompt=example.prompt,
            reference=example.completion,
            generated=text,
            score=score,
        )
        for index, (example, text, score) in enumerate(zip(examples, texts, scores, strict=True))
    ]
