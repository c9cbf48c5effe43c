"""What the learning rate may do after its linear warm-up, and what transformers calls it."""

from __future__ import annotations

#: Transformers' plain `constant` has no warm-up; this one has, and is the same where none is asked for.
SCHEDULES = {"cosine": "cosine", "constant": "constant_with_warmup", "linear": "linear"}
