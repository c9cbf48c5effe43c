"""The error of a measurement over data: the same number on disjoint blocks of examples.

Which sixteen training examples are used has moved a largest eigenvalue by a factor of two, more than most differences
between methods, so a sharpness without this error says little. The value of every block is kept: two models measured
on the same blocks are compared block by block, where what the examples do cancels. Sharpness with m examples at a time
(Foret et al., 2021) is the same idea with the maximum taken inside each block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from analysis.errors import SettingsError
from analysis.losses import LossFunction, causal_lm_loss
from analysis.objective import Objective
from analysis.progress import Progress, silent
from analysis.standard_error import mean_and_error


@dataclass(frozen=True)
class BlockEstimate:
    """One number per block of data.

    Attributes:
        values: By block.
        mean: Plain mean over the blocks.
        standard_error: Sample standard deviation over sqrt(blocks).
    """

    values: tuple[float, ...]
    mean: float
    standard_error: float


def block_estimate(values: Sequence[float]) -> BlockEstimate:
    """Return mean and standard error of values that belong to disjoint blocks.

    Args:
        values: One number per block.

    Raises:
        SettingsError: There are fewer than two values.
    """
    check_blocks(len(values))
    mean, error = mean_and_error(values)
    return BlockEstimate(tuple(values), mean, error)


def check_blocks(count: int) -> None:
    """Refuse fewer than two blocks, of which no error can be told."""
    if count < 2:
        raise SettingsError(f"{count} block(s) of data; expected at least 2, for a standard error: take smaller blocks")


def objective_blocks(
    model: nn.Module,
    batches: Sequence[Mapping[str, Tensor]],
    *,
    examples: int,
    loss: LossFunction = causal_lm_loss,
) -> list[Objective]:
    """Return one objective per `examples` consecutive examples, never across two batches.

    Args:
        model: Any module.
        batches: Mappings of tensors of any shapes (examples, ...).
        examples: Examples in a block, at least 1. A batch's last block may have fewer.
        loss: See `Objective`.

    Raises:
        SettingsError: `examples` is not positive.
    """
    if examples < 1:
        raise SettingsError(f"examples is {examples}; expected at least 1 in a block")
    blocks = []
    for batch in batches:
        size = len(next(iter(batch.values())))
        for start in range(0, size, examples):
            rows = {key: value[start : start + examples] for key, value in batch.items()}
            blocks.append(Objective(model, [rows], loss=loss))
    return blocks


def over_blocks(
    measure: Callable[[Objective], float],
    blocks: Sequence[Objective],
    *,
    on_progress: Progress = silent,
) -> BlockEstimate:
    """Return a measurement on every block, with mean and standard error.

    Args:
        measure: One number of one objective, such as its largest eigenvalue.
        blocks: Objectives of one model on disjoint data.
        on_progress: Called after each block.

    Raises:
        SettingsError: There are fewer than two blocks.
    """
    check_blocks(len(blocks))
    values: list[float] = []
    for index, objective in enumerate(blocks):
        values.append(measure(objective))
        note = f"block {index + 1} of {len(blocks)}, mean {sum(values) / len(values):.4g}"
        on_progress((index + 1) / len(blocks), note)
    return block_estimate(values)


def paired_difference(first: BlockEstimate, second: BlockEstimate) -> BlockEstimate:
    """Return second - first, block by block.

    Args:
        first: One model's.
        second: Another's, measured on the same blocks.

    Raises:
        SettingsError: They do not have the same number of blocks.
    """
    if len(first.values) != len(second.values):
        raise SettingsError(
            f"{len(first.values)} and {len(second.values)} blocks; a paired difference needs both models measured on "
            "the same blocks"
        )
    return block_estimate([b - a for a, b in zip(first.values, second.values, strict=True)])
