"""How long each pocket base is trained, and on how much: the defaults of the command line, without torch.

`pocket-t5` and `pocket-sdxl` are bounded by time as well, so that all of their recipes take less than ten minutes on
one H200. What `pocket-sdxl` counts as tokens are pictures.
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
        shard_tokens: Tokens of a shard, which one worker makes.
        batch_rows: Rows in a step.
        learning_rate: Peak learning rate.
    """

    tokens: int
    minutes: float | None
    corpus_tokens: int
    shard_tokens: int = 1_000_000
    batch_rows: int
    learning_rate: float


BUDGETS = {
    "pocket-llama": Budget(
        tokens=2_400_000_000, minutes=None, corpus_tokens=800_000_000, batch_rows=256, learning_rate=4e-3
    ),
    "pocket-t5": Budget(
        tokens=1_500_000_000, minutes=4.0, corpus_tokens=250_000_000, batch_rows=256, learning_rate=2e-2
    ),
    "pocket-sdxl": Budget(
        tokens=20_000_000, minutes=6.5, corpus_tokens=500_000, shard_tokens=5_000, batch_rows=512, learning_rate=1.2e-3
    ),
}
