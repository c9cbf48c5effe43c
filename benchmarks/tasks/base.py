"""What a benchmark task is: examples in three splits, a prompt format, a metric, and a calibrated recipe.

A task owns its data and its scoring rule and nothing else: it knows no model, no method and no trainer. Splits
are fixed (they do not depend on a run's seed), so that every method and every seed meets the same examples and
scores can be paired example by example. A task of several turns makes of an answer the example that follows it, so
that a later turn is asked with the model's own answers in its prompt, as in MT-Bench (Zheng et al., NeurIPS 2023). The
recipe is what calibration with plain LoRA alone settled on; it is the default for every method, and never tuned for one
of them.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

#: Name of a split.
Split = Literal["train", "validation", "test"]
#: What a model answers with.
Medium = Literal["text", "picture"]
#: The splits in order.
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True, kw_only=True)
class Message:
    """What one side says in a chat; roles are "system", "user" and "assistant"."""

    role: str
    content: str


@dataclass(frozen=True, kw_only=True)
class Example:
    """One prompt and the completion that the model is trained to give.

    Attributes:
        prompt: As plain text.
        completion: What follows it.
        messages: The prompt as a chat, for models with a chat template; `completion` is what the assistant says to it.
        texts: What is asked about, one text or two, for classifiers, which need no instruction.
    """

    prompt: str
    completion: str
    messages: tuple[Message, ...] = ()
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Training settings of a task, calibrated with plain LoRA or published.

    Attributes:
        steps: Optimizer steps; 0 where `epochs` says it, see `Task.steps`.
        batch_size: Examples per optimizer step (the effective batch).
        learning_rate: Peak learning rate of AdamW, cosine schedule with warm-up.
        max_new_tokens: Tokens generated for an answer before it is cut off.
        epochs: Times that every training example is met.
        micro_batch_size: Examples of a forward pass; None takes the batch.
        max_length: Tokens of a row, longer ones are cut; None cuts nothing.
        evaluation_batch_size: Rows at a time in evaluations; None takes what small models can have.
    """

    steps: int = 0
    batch_size: int
    learning_rate: float
    max_new_tokens: int
    epochs: int = 0
    micro_batch_size: int | None = None
    max_length: int | None = None
    evaluation_batch_size: int | None = None


class Task(ABC):
    """A benchmark task; subclasses are registered by name in `benchmarks.tasks`."""

    name: ClassVar[str]
    #: Changes whenever an example or the scoring rule changes; part of a run's key.
    version: ClassVar[str]
    #: Name of the metric as its field names it; decides what the score of a set is, see `reports.set_scores`.
    metric: ClassVar[str]
    #: What a score of 1 is shown as, in the metric's own scale: 100 is per cent, 10 a rubric of ten points.
    full_marks: ClassVar[int] = 100
    #: The shipped model that the task was made for, which is fine-tuned unless another one is named.
    base: ClassVar[str] = "pocket-llama"
    #: What its answers are; a model that gives another thing cannot be trained on it.
    medium: ClassVar[Medium] = "text"
    #: The answers that there are, where a classifier can be asked as well, in the order of its classes.
    labels: ClassVar[tuple[str, ...]] = ()
    #: Whether the score is how likely the model finds the right answer, where no rule could judge what it writes.
    by_likelihood: ClassVar[bool] = False
    recipe: ClassVar[Recipe]

    @property
    def edition(self) -> str:
        """The version, and of a task whose examples come from elsewhere their hash; part of a run's key."""
        return self.version

    def steps(self, batch_size: int) -> int:
        """Return the optimizer steps of the recipe."""
        return self.recipe.steps

    def refusal(self, *, method: str, variant: str, quantize: str | None) -> str | None:
        """Return why a training method cannot be run on this task, or None where it can (everywhere, by default)."""
        return None

    def check(self) -> None:
        """Make sure that this machine can score the task.

        Raises:
            UsageError: If it cannot, with the reason.
        """

    @abstractmethod
    def examples(self, split: Split) -> tuple[Example, ...]:
        """Return the examples of a split, always the same ones in the same order."""

    @abstractmethod
    def score(self, example: Example, generated: str) -> float:
        """Return the score in [0, 1] of one generated completion (1 is right)."""

    def scores(self, examples: Sequence[Example], generated: Sequence[str]) -> list[float]:
        """Return the score of every completion; tasks whose scoring takes time may do several at once."""
        return [self.score(example, text) for example, text in zip(examples, generated, strict=True)]

    def follow_up(self, example: Example, answer: str) -> Example | None:
        """Return the example that an answer leads to, or None where it was the last turn (always, in one-turn tasks).

        Its prompt is the prompt of `example`, then `answer` as it is, then the next question.
        """
        return None

    def turns(self, example: Example) -> tuple[Example, ...]:
        """Return an example and all that follow it if every answer is the reference: what a model is trained on."""
        found = [example]
        while (following := self.follow_up(found[-1], found[-1].completion)) is not None:
            found.append(following)
        return tuple(found)

    def fingerprint(self) -> str:
        """Return a hash of all turns of all examples (16 hex digits), which a frozen task keeps."""
        rows = [[t.prompt, t.completion] for split in SPLITS for e in self.examples(split) for t in self.turns(e)]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]
