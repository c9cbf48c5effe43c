"""The record of what one variant's optimizer step costs, beside its references."""

from __future__ import annotations

from dataclasses import dataclass

STOCK_LORA, FLOOR = "peft-lora", "floor"


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """The cost of one variant's optimizer step.

    Attributes:
        model: Name or folder of the model.
        shape: Batch size x tokens per row.
        method: Name of the method; "peft-lora" for LoRA as PEFT ships it; "floor" for forward pass and input gradient
            of the frozen model.
        path: "stock" for PEFT's own forward, "fused", "compiled", "graphed".
        step_ms: Wall-clock time of a step, milliseconds, median over the blocks; None if the variant failed.
        step_ms_low: Lower quartile.
        step_ms_high: Upper quartile.
        first_ms: The first step, compiling and recording included.
        tokens_per_second: Rows x tokens over the median.
        peak_gb: Peak of allocated GPU memory, 1e9 bytes, the model's weights included; None on the CPU.
        ratio_to_stock_lora: Median over the blocks of this step's time over that of LoRA as PEFT ships it.
        ratio_to_compiled_lora: The same over PEFT's LoRA with adapters in the base's type and compiled layers.
        ratio_to_our_lora: The same over "lora" on the same path.
        ratio_to_floor: The same over the floor.
        rounds: How many rounds were timed.
        error: Why there are no times.
    """

    model: str
    shape: str
    method: str
    path: str
    step_ms: float | None = None
    step_ms_low: float | None = None
    step_ms_high: float | None = None
    first_ms: float | None = None
    tokens_per_second: float | None = None
    peak_gb: float | None = None
    ratio_to_stock_lora: float | None = None
    ratio_to_compiled_lora: float | None = None
    ratio_to_our_lora: float | None = None
    ratio_to_floor: float | None = None
    rounds: int = 0
    error: str | None = None
