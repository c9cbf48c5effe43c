"""Records what happens to the adapters while they train: the numbers behind the paper's Figures 2, 3, A3 and A5.

A training loop hands over the factors it has at each step, and whatever else it knows; nothing here depends on how it
trains. Snapshots are copied to the CPU, one adapter's size each: `every` thins them out. The clip is
counted at every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from analysis import low_rank
from analysis.capture.quality import AdversaryQuality, adversary_quality
from analysis.dynamics.cosines import CosinesToFinal, Snapshot, cosines_to_final
from analysis.dynamics.terms import PerturbationTerms, Step, perturbation_terms
from analysis.errors import SettingsError


@dataclass(frozen=True)
class Dynamics:
    """One training run, step by step; `dataclasses.asdict` of it is JSON.

    Attributes:
        steps: The recorded steps.
        primary: Cosines of the primary adapter to its final state, by recorded step.
        auxiliary: The same of the auxiliary adapter, or None.
        primary_norms: ||s B A||_F over all layers, by recorded step.
        auxiliary_norms: The same of the auxiliary adapter, or None.
        terms: (step, norms of the parts of the factors' perturbation) where one was handed over.
        quality: (step, quality of the auxiliary as an adversary) where the full gradient was handed over.
        clip_active: Share of all steps at which the clip was active, None if it was never told.
    """

    steps: tuple[int, ...]
    primary: CosinesToFinal
    auxiliary: CosinesToFinal | None
    primary_norms: tuple[float, ...]
    auxiliary_norms: tuple[float, ...] | None
    terms: tuple[tuple[int, PerturbationTerms], ...]
    quality: tuple[tuple[int, AdversaryQuality], ...]
    clip_active: float | None


class DynamicsRecorder:
    """Collects snapshots while an adapter trains.

    Args:
        every: Record the steps that are multiples of this.

    Raises:
        SettingsError: `every` is not positive.
    """

    def __init__(self, *, every: int = 1) -> None:
        if every < 1:
            raise SettingsError(f"every is {every}; expected at least 1 step")
        self.every = every
        self._steps: list[int] = []
        self._primary: list[Snapshot] = []
        self._auxiliary: list[Snapshot] = []
        self._terms: list[tuple[int, PerturbationTerms]] = []
        self._quality: list[tuple[int, AdversaryQuality]] = []
        self._clipped: list[bool] = []

    def wants(self, step: int) -> bool:
        """Whether `record` will keep a step: what is costly to hand over need only be computed if so.

        Args:
            step: Number of the step.
        """
        return step % self.every == 0

    def record(
        self,
        step: int,
        primary: Snapshot,
        *,
        auxiliary: Snapshot | None = None,
        perturbation: Sequence[Step] | None = None,
        gradient: Sequence[Tensor] | None = None,
        radius: float | None = None,
        clip_active: bool | None = None,
    ) -> None:
        """Take what is known at one step; call it at every step.

        Args:
            step: Number of the step, ascending.
            primary: (A, B, s) of every layer.
            auxiliary: The same of the auxiliary adapter: at every step or never.
            perturbation: (eps_A, eps_B) of every layer of the primary, as LoRA-SAM makes it.
            gradient: G (m, n) of every layer's merged matrix, by which the auxiliary is judged.
            radius: rho of the auxiliary's ball, needed with `gradient`.
            clip_active: Whether this step's auxiliary was put back on the ball.

        Raises:
            SettingsError: Steps do not ascend, the auxiliary is missing at some step, or a gradient comes without
                auxiliary or radius.
        """
        if clip_active is not None:
            self._clipped.append(clip_active)
        if not self.wants(step):
            return
        if self._steps and step <= self._steps[-1]:
            raise SettingsError(f"step {step} after step {self._steps[-1]}; expected ascending steps")
        if self._steps and bool(self._auxiliary) != (auxiliary is not None):
            raise SettingsError(f"step {step}: hand over the auxiliary adapter at every step or never")
        if gradient is not None:
            if auxiliary is None or radius is None:
                raise SettingsError(f"step {step}: a gradient judges the auxiliary; give auxiliary= and radius= too")
            self._quality.append((step, adversary_quality(gradient, auxiliary, radius=radius)))
        if perturbation is not None:
            self._terms.append((step, perturbation_terms(primary, perturbation)))
        self._steps.append(step)
        self._primary.append(_copy(primary))
        if auxiliary is not None:
            self._auxiliary.append(_copy(auxiliary))

    def finish(self) -> Dynamics:
        """Return the record of the run; the last recorded step counts as the final state.

        Raises:
            SettingsError: Nothing was recorded.
        """
        return Dynamics(
            steps=tuple(self._steps),
            primary=cosines_to_final(self._primary),
            auxiliary=cosines_to_final(self._auxiliary) if self._auxiliary else None,
            primary_norms=tuple(low_rank.norm(snapshot) for snapshot in self._primary),
            auxiliary_norms=tuple(low_rank.norm(snapshot) for snapshot in self._auxiliary) or None,
            terms=tuple(self._terms),
            quality=tuple(self._quality),
            clip_active=sum(self._clipped) / len(self._clipped) if self._clipped else None,
        )


def _copy(snapshot: Snapshot) -> Snapshot:
    """Return a snapshot that later training steps do not change."""
    return [(a.detach().to("cpu", copy=True), b.detach().to("cpu", copy=True), s) for a, b, s in snapshot]
