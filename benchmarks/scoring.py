"""Scores a model on a task by letting it write: greedy generation, then the task's own rule on the text.

Tasks of several turns are written in as many rounds: what an answer leads to is asked in the next one, with the model's
own answer in the prompt. A dialogue counts once, by the mean of its turns' scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.encoding import encode_prompt, encode_prompts
from benchmarks.tasks import Example, Task
from reports.set_scores import Answered, set_score

#: Prompts at a time, for models as small as those that ship.
GENERATION_BATCH = 256
Prompts = list[list[int]]


@dataclass(frozen=True, kw_only=True)
class ScoredExample:
    """What was written for one example beside its reference.

    Attributes:
        index: Which example.
        prompt: Its prompt; of a dialogue, the first.
        reference: Its completion; of a dialogue, all that follows the first prompt if every answer is the reference.
        generated: What the model wrote; of a dialogue, with the later questions in between.
        score: The task's, in [0, 1]; of a dialogue, the mean over its turns.
        turn_scores: The score of every turn.
        parts: What the score is made of, by name, where it is made of several things.
        picture: What was drawn, uint8 (3, side, side), where the answer is a picture; `generated` is its verdict.
    """

    index: int
    prompt: str
    reference: str
    generated: str
    score: float
    turn_scores: tuple[float, ...]
    parts: Mapping[str, float] = field(default_factory=dict)
    picture: NDArray[np.uint8] | None = None

    @classmethod
    def of_one_turn(cls, index: int, example: Example, *, generated: str, score: float, **more: Any) -> ScoredExample:
        """Return what was written for an example of one turn; `more` are further attributes."""
        return cls(
            index=index,
            prompt=example.prompt,
            reference=example.completion,
            generated=generated,
            score=score,
            turn_scores=(score,),
            **more,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready record, without parts and picture."""
        return {name: value for name, value in vars(self).items() if name not in ("parts", "picture")}


def task_score(task: Task, examples: Sequence[ScoredExample]) -> float:
    """Return the task's metric over a set of scored examples."""
    return metric_score(task.metric, examples)


def metric_score(metric: str, examples: Sequence[ScoredExample]) -> float:
    """Return a metric over a set of scored examples, by its name."""
    answered = [Answered(score=e.score, reference=e.reference, generated=e.generated) for e in examples]
    return set_score(metric, answered)


def mean_parts(examples: Sequence[ScoredExample]) -> dict[str, float]:
    """Return the mean of every part of the scores, by name."""
    names = dict.fromkeys(name for example in examples for name in example.parts)
    return {name: sum(e.parts[name] for e in examples) / len(examples) for name in names}


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str] | Prompts,
    *,
    max_new_tokens: int,
    batch_size: int,
    end_tokens: Sequence[int] | None = None,
    on_progress: Callable[[float], None] = lambda fraction: None,
) -> list[str]:
    """Return the greedy completion of every prompt, in the prompts' order.

    Args:
        model: A language model in evaluation mode, a decoder or an encoder-decoder.
        tokenizer: Its tokenizer.
        prompts: Texts to continue or to answer, or their tokens.
        max_new_tokens: Where an answer that does not end is cut off.
        batch_size: Prompts at a time; they are grouped by length and padded on the left.
        end_tokens: Tokens that end an answer; None takes the end of a text.
        on_progress: Called with the finished share.
    """
    reads_apart = bool(model.config.is_encoder_decoder)
    encoded = [
        encode_prompt(prompt, tokenizer, encoder_decoder=reads_apart) if isinstance(prompt, str) else prompt
        for prompt in prompts
    ]
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
                use_cache=True,  # which training on packed rows switches off
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id if end_tokens is None else list(end_tokens),
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
    batch_size: int = GENERATION_BATCH,
    encode: Callable[[Sequence[Example]], Prompts] | None = None,
    end_tokens: Sequence[int] | None = None,
    on_progress: Callable[[float], None] = lambda fraction: None,
) -> list[ScoredExample]:
    """Generate an answer to every example, and to what its answer leads to, and score all by the task's rule.

    Args:
        model: A language model in evaluation mode.
        tokenizer: Its tokenizer.
        task: Says what follows an answer, and scores it.
        examples: The examples.
        batch_size: Prompts at a time.
        encode: Makes tokens of prompts; None takes `encode_prompts` as it comes.
        end_tokens: See `generate`.
        on_progress: Called with the finished share.
    """
    if encode is None:
        encode = partial(encode_prompts, tokenizer=tokenizer, encoder_decoder=bool(model.config.is_encoder_decoder))
    references = [task.turns(example) for example in examples]
    rounds = max((len(turns) for turns in references), default=0)
    answered: list[list[_Answer]] = [[] for _ in examples]
    asked = dict(enumerate(examples))
    finished = 0
    while asked:
        turns = list(asked.values())
        texts = generate(
            model,
            tokenizer,
            encode(turns),
            max_new_tokens=task.recipe.max_new_tokens,
            batch_size=batch_size,
            end_tokens=end_tokens,
            on_progress=partial(_share, on_progress, finished, rounds),
        )
        following = {}
        for index, text, score in zip(asked, texts, task.scores(turns, texts), strict=True):
            answered[index].append(_Answer(asked[index].prompt, text, score))
            next_turn = task.follow_up(asked[index], text)
            if next_turn is not None:
                following[index] = next_turn
        asked = following
        finished += 1
    return [
        _record(index, turns, answers) for index, (turns, answers) in enumerate(zip(references, answered, strict=True))
    ]


class _Answer(NamedTuple):
    prompt: str
    text: str
    score: float


def _share(on_progress: Callable[[float], None], finished: int, rounds: int, fraction: float) -> None:
    # An answer may lead on where the reference ends.
    on_progress(min(1.0, (finished + fraction) / rounds))


def _record(index: int, reference: Sequence[Example], answers: Sequence[_Answer]) -> ScoredExample:
    start = len(reference[0].prompt)
    scores = tuple(answer.score for answer in answers)
    return ScoredExample(
        index=index,
        prompt=reference[0].prompt,
        # A later prompt begins with the first one, so that what follows that is the rest of the dialogue.
        reference=(reference[-1].prompt + reference[-1].completion)[start:],
        generated=(answers[-1].prompt + answers[-1].text)[start:],
        score=sum(scores) / len(scores),
        turn_scores=scores,
    )
