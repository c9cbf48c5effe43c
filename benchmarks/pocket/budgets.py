"""How long each pocket base is trained, and on how much: the defaults of the command line, without torch.

`pocket-t5` is bounded by time as well, so that all of its recipe takes less than ten minutes on one H200.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Defaults of a base; each is a flag of the command line.

    Attributes:
        tokens: Tokens to train on, repetitions counted.
        minutes: Limit on the training time, or None.
        corpus_tokens: Distinct tokens.
        batch_rows: Rows in a step.
        learning_rate: Peak learning rate.
    """

    tokens: int
    minutes: float | None
    corpus_tokens: int
    batch_rows: int
    learning_rate: float


BUDGETS = {
    "pocket-llama": Budget(
        tokens=2_400_000_000, minutes=None, corpus_tokens=800_000_000, batch_rows=256, learning_rate=4e-3
    ),
    "pocket-t5": Budget(
        tokens=1_500_000_000, minutes=4.0, corpus_tokens=250_000_000, batch_rows=256, learning_rate=2e-2
    ),
}
