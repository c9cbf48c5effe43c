"""Several examples in one row, so that no step is spent on padding, and none of them sees another.

Positions start again at 0 with every example. transformers reads from them where one ends (without an attention mask),
and keeps attention inside each: by a block-diagonal mask for eager and SDPA attention, by sequence lengths for Flash
Attention. A label at the beginning of an example would be predicted from the end of the one before, and is ignored.
That a model really keeps examples apart is tried once before it is trained.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.encoding import IGNORED_LABEL

Row = dict[str, list[int]]
#: Rows that are being filled at a time.
_OPEN = 64


class PackingError(ValueError):
    """Rows cannot be packed for a model; the text says why."""


def pack(rows: Sequence[Row], *, length: int, pad_id: int) -> list[Row]:
    """Return rows of exactly `length` tokens that hold all given rows, each in the first that has room.

    Args:
        rows: `input_ids` and `labels` of examples, none longer than `length`.
        length: Of every packed row; what stays empty is padding, an example of its own with nothing to predict.
        pad_id: The padding token.
    """
    done: list[list[Row]] = []
    filling: list[list[Row]] = []
    room: list[int] = []
    for row in rows:
        size = len(row["input_ids"])
        place = next((i for i, free in enumerate(room) if size <= free), None)
        if place is None:
            if len(filling) == _OPEN:
                # The fullest one is the least likely to take another.
                fullest = room.index(min(room))
                done.append(filling.pop(fullest))
                room.pop(fullest)
            place = len(filling)
            filling.append([])
            room.append(length)
        filling[place].append(row)
        room[place] -= size
    return [_joined(members, length, pad_id) for members in (*done, *filling)]


def _joined(members: Sequence[Row], length: int, pad_id: int) -> Row:
    empty = length - sum(len(row["input_ids"]) for row in members)
    padding = {"input_ids": [pad_id] * empty, "labels": [IGNORED_LABEL] * empty}
    joined: Row = {"input_ids": [], "labels": [], "position_ids": []}
    for row in (*members, padding):
        joined["input_ids"] += row["input_ids"]
        joined["labels"] += [IGNORED_LABEL, *row["labels"][1:]] if row["labels"] else []
        joined["position_ids"] += range(len(row["input_ids"]))
    return joined


def packed_batch(rows: Sequence[Row]) -> dict[str, Tensor]:
    """Return a batch (rows, length) of packed rows, without an attention mask."""
    return {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}


def keep_apart(model: Any, rows: Sequence[Row]) -> None:
    """Make a model keep the examples of a row apart, and make sure that what it says of one depends on no other.

    Its cache is switched off: with one, transformers takes a row for the continuation of a text and positions for its.

    Args:
        model: A decoder.
        rows: Packed rows; the first with two examples is tried.

    Raises:
        PackingError: If it does, or if the model takes no positions.
    """
    if "position_ids" not in inspect.signature(model.forward).parameters:
        raise PackingError(f"--packing: {type(model).__name__} takes no position_ids; leave the flag off")
    if hasattr(model, "config"):
        model.config.use_cache = False
    row = next((row for row in rows if 0 in row["position_ids"][1:]), None)
    if row is None:
        return
    second = row["position_ids"].index(0, 1)
    device = next(model.parameters()).device
    tokens = torch.tensor([row["input_ids"]], device=device)
    changed = tokens.clone()
    changed[:, :second] = tokens[0, second]
    positions = torch.tensor([row["position_ids"]], device=device)
    training = model.training
    model.eval()
    with torch.inference_mode():
        one, other = (model(input_ids=t, position_ids=positions).logits[:, second:].float() for t in (tokens, changed))
    model.train(training)
    # The same numbers meet in the same order, so that without contamination nothing but noise of kernels remains.
    if (one - other).abs().max() > 1e-3 * one.std():
        raise PackingError(
            f"--packing: {type(model).__name__} lets examples of one row see each other; leave the flag off, or choose "
            "another --attention"
        )
