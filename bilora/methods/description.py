"""What a training method says about itself: its rule in words, and what it needs of whoever drives it."""

from __future__ import annotations

from typing import ClassVar

from bilora.methods.options import MethodOptions


class Description:
    """The declarations of a method; a `Method` fills in those without a default."""

    #: What it is called on command lines and in reports.
    name: ClassVar[str]
    #: The rule in one line.
    summary: ClassVar[str]
    #: What is perturbed, in a few words.
    perturbs: ClassVar[str]
    #: In which space and norm the method's radius is measured, for the head of a report.
    radius_convention: ClassVar[str]
    #: Forward and backward passes of one optimizer step, in words.
    cost_rule: ClassVar[str]
    #: What is held beyond plain LoRA, in words; `extra_memory` gives the bytes.
    memory_rule: ClassVar[str]
    #: Why the method cannot run on a 4-bit base; None if it can.
    refused_on_quantised: ClassVar[str | None] = None
    #: Paper, venue, arXiv number.
    source: ClassVar[str]
    #: Seconds per step over LoRA's that the Bi-LoRA paper prints (Table A16, Llama-2-7B); None if it does not.
    published_cost: ClassVar[float | None] = None
    options_class: ClassVar[type[MethodOptions]] = MethodOptions
    #: Whether the model's own parameters are trained instead of an adapter's.
    trains_all_weights: ClassVar[bool] = False
    #: Whether `refine_gradients` replays, so that drivers must keep the micro-batches of the window.
    replays: ClassVar[bool] = False
    #: Whether the losses of single examples are used, so that drivers must take them in the first pass.
    needs_example_losses: ClassVar[bool] = False
    #: Whether a pass depends on nothing but weights, batch and the device's random numbers, so that it may be recorded
    #: once and replayed, see `bilora.graphed`.
    replayable: ClassVar[bool] = False
    #: Whether gradients are carried from one step to the next, so that they must be those of all ranks.
    carries_gradients: ClassVar[bool] = False

    @property
    def scope(self) -> str:
        """Whose moments they are: of an effective batch (`step`), each rank's part of it (`rank`) or `micro-batch`."""
        return "step"
