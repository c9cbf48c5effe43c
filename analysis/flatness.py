"""One call that measures how flat a minimum is, in several spaces, on one definition of loss and data.

For each space: both ends of the Hessian's spectrum, worst-case and average-case loss increase at one weight-space
radius, and slices of the loss, with what they cost. The record is made of numbers, strings and tuples only, so that
`dataclasses.asdict` of it is JSON; what was not measured is None, never a number that stands for it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from torch import nn

from analysis.eigenpair import EigenPair
from analysis.landscape import Slices, slices, symmetric_alphas
from analysis.objective import Objective
from analysis.operators import HessianOperator
from analysis.progress import Progress, silent, within
from analysis.settings import FlatnessSettings
from analysis.sharpness import (
    AverageCase,
    GradientNorms,
    Linearisation,
    WorstCase,
    average_case,
    gradient_norms,
    linearise,
    worst_case,
)
from analysis.spaces import LoraSpace, ParameterSpace, parameter_space
from analysis.spectrum import eigenvalues


@dataclass(frozen=True)
class SpaceFlatness:
    """The flatness of one model in one space.

    Attributes:
        dimension: Independent directions of the space.
        top: Largest Hessian eigenvalues, largest first.
        bottom: Smallest, smallest first.
        products: Hessian products taken.
        gradient: Norms of the gradient, with the part that a low-rank perturbation can use; None if left out, and in
            a space of factors, where the gradient's blocks are not those of the weights.
        worst_case_one_step: Loss increase one gradient step away.
        worst_case: Largest increase found by projected ascent.
        average_case: Mean increase over random directions, or None.
        slices: Losses along filter-normalised directions, or None.
        seconds: Wall time.
        evaluations: Passes over the data for values alone.
        gradient_evaluations: Passes for value and gradient.
    """

    dimension: int
    top: tuple[EigenPair, ...]
    bottom: tuple[EigenPair, ...]
    products: int
    gradient: GradientNorms | None
    worst_case_one_step: WorstCase
    worst_case: WorstCase
    average_case: AverageCase | None
    slices: Slices | None
    seconds: float
    evaluations: int
    gradient_evaluations: int


@dataclass(frozen=True)
class Flatness:
    """The flatness of one model; `dataclasses.asdict` of it is JSON.

    Attributes:
        settings: What was asked for.
        loss: L, mean over the tokens.
        gradient_norm: By space, in its coordinates.
        spaces: By space.
        seconds: Wall time of everything.
    """

    settings: FlatnessSettings
    loss: float
    gradient_norm: dict[str, float]
    spaces: dict[str, SpaceFlatness]
    seconds: float


def measure_flatness(
    objective: Objective,
    model: nn.Module,
    settings: FlatnessSettings | None = None,
    *,
    on_progress: Progress = silent,
) -> Flatness:
    """Measure flatness in every space that the settings name; the model is left bit for bit as it was.

    Args:
        objective: The token-weighted mean loss of `model`.
        model: Holds the weights; one LoRA adapter must be active for the lora and the tangent space.
        settings: What to measure; None takes the defaults.
        on_progress: Called with the fraction done and a note.

    Returns:
        Everything that the settings ask for, by space.

    Raises:
        AnalysisError: The model does not have a space, or the loss is not finite or not deterministic.
    """
    settings = settings or FlatnessSettings()
    started = time.perf_counter()
    # All spaces are built first, so that a missing one is known before any work is done.
    spaces = [parameter_space(model, name) for name in settings.spaces]
    if settings.check_determinism:
        with spaces[0] as space:
            objective.check_determinism(space.tensors)
    loss = objective.value()
    gradient_norm, measured = {}, {}
    for index, space in enumerate(spaces):
        report = within(on_progress, index / len(spaces), (index + 1) / len(spaces), label=space.name)
        with space:
            at = linearise(objective, space)
            measured[space.name] = _measure_space(objective, space, at, settings, report)
        gradient_norm[space.name] = at.gradient_norm
    return Flatness(settings, loss, gradient_norm, measured, time.perf_counter() - started)


def _measure_space(
    objective: Objective, space: ParameterSpace, at: Linearisation, settings: FlatnessSettings, report: Progress
) -> SpaceFlatness:
    """Measure one space that is entered."""
    started = time.perf_counter()
    evaluations, gradients = objective.evaluations, objective.gradient_evaluations
    top, bottom, products = _spectrum(objective, space, settings, within(report, 0.0, 0.6, label="spectrum"))
    one_step = worst_case(objective, space, radius=settings.radius, max_steps=1, at=at)
    ascent = worst_case(
        objective,
        space,
        radius=settings.radius,
        max_steps=settings.ascent_steps,
        tolerance=settings.ascent_tolerance,
        at=at,
        on_progress=within(report, 0.6, 0.75, label="worst case"),
    )
    gradient = average = cuts = None
    if settings.gradient_rank and not isinstance(space, LoraSpace):
        gradient = gradient_norms(at.gradient, space.names, rank=settings.gradient_rank, seed=settings.seed)
    if settings.average_draws:
        average = average_case(
            objective,
            space,
            radius=settings.average_radius,
            max_draws=settings.average_draws,
            tolerance=settings.average_tolerance,
            seed=settings.seed,
            loss=at.loss,
            on_progress=within(report, 0.75, 0.85, label="average case"),
        )
    if settings.slice_directions:
        cuts = slices(
            objective,
            space,
            alphas=symmetric_alphas(settings.slice_extent, settings.slice_points),
            directions=settings.slice_directions,
            seed=settings.seed,
            loss=at.loss,
            on_progress=within(report, 0.85, 1.0, label="slices"),
        )
    return SpaceFlatness(
        dimension=space.dimension,
        top=top,
        bottom=bottom,
        products=products,
        gradient=gradient,
        worst_case_one_step=one_step,
        worst_case=ascent,
        average_case=average,
        slices=cuts,
        seconds=time.perf_counter() - started,
        evaluations=objective.evaluations - evaluations,
        gradient_evaluations=objective.gradient_evaluations - gradients,
    )


def _spectrum(
    objective: Objective, space: ParameterSpace, settings: FlatnessSettings, report: Progress
) -> tuple[tuple[EigenPair, ...], tuple[EigenPair, ...], int]:
    """Return both ends of the Hessian's spectrum and the number of products; its graphs are freed on return."""
    if settings.top + settings.bottom == 0:
        return (), (), 0
    operator = HessianOperator(objective, space, graph_budget_bytes=settings.graph_budget_bytes)
    spectrum = eigenvalues(
        operator,
        top=settings.top,
        bottom=settings.bottom,
        tolerance=settings.tolerance,
        max_products=settings.max_products,
        basis_size=settings.basis_size,
        seed=settings.seed,
        on_progress=report,
    )
    return spectrum.top, spectrum.bottom, spectrum.products
