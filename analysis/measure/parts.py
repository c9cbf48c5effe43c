"""The parts of a measurement: each metric in one space, as entries of measure.json.

A part takes the context of the whole measurement and a space, calls the functions of `analysis` that a program would
call, and returns their records as plain values. It knows nothing of flags, files and pages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from analysis.capture import adapter_angles, adversary_quality, captured_sharpness
from analysis.density import spectral_density
from analysis.extremes import extreme_eigenvalues
from analysis.landscape import filter_normalised_direction, plane, slices, symmetric_alphas
from analysis.measure.settings import MeasureSettings
from analysis.objective import Objective
from analysis.operators import EmpiricalFisherOperator, GaussNewtonOperator, HessianOperator, SpaceOperator
from analysis.progress import Progress, within
from analysis.pyhessian_backend import pyhessian_eigenvalues, pyhessian_trace
from analysis.scores import score_of
from analysis.sharpness import (
    NORMS,
    WeightNorm,
    average_case,
    convert_radius,
    gradient_norms,
    linearise,
    m_sharpness,
    over_blocks,
    robustness_curve,
    worst_case,
)
from analysis.spaces import AuxiliarySpace, FullSpace, LoraSpace, ParameterSpace, TangentSpace
from analysis.spectrum import eigenvalues
from analysis.trace import trace

Values = dict[str, Any]


@dataclass(frozen=True)
class Context:
    """What every part of one measurement shares.

    Attributes:
        model: The model.
        objective: The loss over all examples.
        blocks: The same examples in blocks, for m-sharpness and errors over data.
        settings: What was asked for.
        folder: Where a plane is kept point by point, so that it goes on where it stopped.
        operators: Operators made so far, by space, so that a route is chosen once.
    """

    model: nn.Module
    objective: Objective
    blocks: Sequence[Objective]
    settings: MeasureSettings
    folder: Path
    operators: dict[str, SpaceOperator] = field(default_factory=dict)


def measure_top(context: Context, space: ParameterSpace, report: Progress) -> Values:
    """Return `top` and `bottom`, lists of eigenvalues with residuals, and `spectrum`, how they were found."""
    s = context.settings
    if s.backend == "pyhessian":
        found = pyhessian_eigenvalues(context.objective, space, count=s.top + s.bottom, seed=s.seed)
    elif s.basis_storage == "none":
        found = extreme_eigenvalues(
            _operator(context, space),
            tolerance=s.tolerance,
            max_products=s.max_products,
            start=linearise(context.objective, space).gradient,
            on_progress=report,
        )
    else:
        found = eigenvalues(
            _operator(context, space),
            top=s.top,
            bottom=s.bottom,
            tolerance=s.tolerance,
            max_products=s.max_products,
            basis_size=s.basis_size,
            seed=s.seed,
            on_progress=report,
            **_storage(s),
        )
    record = asdict(found)
    return {"top": record.pop("top"), "bottom": record.pop("bottom"), "spectrum": record | _route(context, space)}


def measure_density(context: Context, space: ParameterSpace, report: Progress) -> Values:
    """Return the spectral density."""
    s = context.settings
    steps = min(64, max(s.max_products // s.draws, 2), space.dimension)
    found = spectral_density(
        _operator(context, space), draws=s.draws, steps=steps, seed=s.seed, on_progress=report, **_storage(s)
    )
    return {"density": asdict(found) | _route(context, space)}


def measure_trace(context: Context, space: ParameterSpace, report: Progress) -> Values:
    """Return the trace with its standard error."""
    s = context.settings
    if s.backend == "pyhessian":
        found = pyhessian_trace(context.objective, space, max_products=s.max_products, seed=s.seed)
    else:
        found = trace(
            _operator(context, space),
            max_products=s.max_products,
            basis_size=s.basis_size,
            seed=s.seed,
            on_progress=report,
            **_storage(s),
        )
    return {"trace": asdict(found) | _route(context, space)}


def measure_sharpness(context: Context, space: ParameterSpace, report: Progress) -> Values:
    """Return gradient norms, worst and average case in every norm, m-sharpness and the loss over data blocks."""
    s = context.settings
    with space:
        at = linearise(context.objective, space)
        values: Values = {
            "gradient": asdict(gradient_norms(at.gradient, space.names, seed=s.seed)),
            "worst_case_one_step": {},
            "worst_case": {},
            "average_case": {},
        }
        # The same number in a relative norm would be another move altogether: each norm gets the radius at which a
        # step along the gradient is as long as the one asked for.
        worst_radii, average_radii = (
            asdict(convert_radius(space, at.gradient, radius)) for radius in (s.radius, s.average_radius)
        )
        for index, name in enumerate(NORMS):
            norm, worst, average = WeightNorm(name), worst_radii[name], average_radii[name]
            part = within(report, index / 4, (index + 1) / 4, label=name)
            one = worst_case(context.objective, space, radius=worst, norm=norm, max_steps=1, at=at)
            more = worst_case(context.objective, space, radius=worst, norm=norm, at=at, seed=s.seed, on_progress=part)
            mean = average_case(
                context.objective, space, radius=average, norm=norm, max_draws=s.draws, seed=s.seed, loss=at.loss
            )
            values["worst_case_one_step"][name] = asdict(one)
            values["worst_case"][name] = asdict(more)
            values["average_case"][name] = asdict(mean)
        if len(context.blocks) > 1:
            last = within(report, 0.75, 1.0, label="blocks")
            values["m_sharpness"] = asdict(m_sharpness(context.blocks, space, radius=s.radius, on_progress=last))
            values["loss_over_blocks"] = asdict(over_blocks(Objective.value, context.blocks))
    return {"sharpness": True, **values}


def measure_robustness(context: Context, space: ParameterSpace, report: Progress) -> Values:
    """Return the loss along alpha g / ||g||, and the score if one was asked for."""
    s = context.settings
    metric = None if s.score == "none" else score_of(s.score, context.objective)
    found = robustness_curve(context.objective, space, alphas=s.alphas, metric=metric, on_progress=report)
    return {"robustness": asdict(found) | {"metric": None if metric is None else s.score}}


def measure_landscape(context: Context, space: ParameterSpace, report: Progress) -> Values:
    """Return slices and a plane along filter-normalised random directions."""
    s = context.settings
    alphas = symmetric_alphas(s.extent, s.points)
    cuts = slices(
        context.objective, space, alphas=alphas, seed=s.seed, on_progress=within(report, 0.0, 0.2, label="slices")
    )
    first, second = (filter_normalised_direction(space, seed=s.seed, index=index) for index in (0, 1))
    surface = plane(
        context.objective,
        space,
        first,
        second,
        alphas=alphas,
        store=context.folder / f"plane-{space.name.replace(':', '-')}.json",
        on_progress=within(report, 0.2, 1.0, label="plane"),
    )
    names = ["random direction 1, relative to the rows", "random direction 2"]
    return {"landscape": asdict(cuts), "plane": asdict(surface) | {"names": names}}


def measure_capture(context: Context, space: ParameterSpace, report: Progress) -> Values:
    """Return how much of the full space's worst case a space of factors or a tangent space sees; None in others.

    With an auxiliary adapter also how good an adversary it is, and the angles between it and the primary.
    """
    s = context.settings
    if not isinstance(space, LoraSpace | TangentSpace):
        return {"capture": None}
    full = FullSpace(context.model)
    found: Values = asdict(
        captured_sharpness(context.objective, space, full, radius=s.radius, seed=s.seed, on_progress=report)
    )
    if isinstance(space, AuxiliarySpace):
        primary = LoraSpace(context.model)
        pairs = [[(layer.A, layer.B, layer.scaling) for layer in each.layers] for each in (primary, space)]
        with full:
            gradient = linearise(context.objective, full).gradient
        found["adversary"] = asdict(adversary_quality(gradient, pairs[1], seed=s.seed))
        angles = adapter_angles([layer.name for layer in primary.layers], pairs[0], pairs[1])
        found["angles"] = [asdict(layer) for layer in angles]
    return {"capture": found}


PARTS: dict[str, Callable[[Context, ParameterSpace, Progress], Values]] = {
    "top": measure_top,
    "density": measure_density,
    "trace": measure_trace,
    "sharpness": measure_sharpness,
    "robustness": measure_robustness,
    "landscape": measure_landscape,
    "capture": measure_capture,
}


def _operator(context: Context, space: ParameterSpace) -> SpaceOperator:
    """Return the operator of a space, the same one for every part."""
    s = context.settings
    if space.name not in context.operators:
        options: dict[str, Any] = {
            "compile_layers": s.compile_layers == "yes",
            "compute_dtype": torch.float32 if s.compute_dtype == "float32" else None,
        }
        made: dict[str, Callable[[], SpaceOperator]] = {
            "hessian": lambda: HessianOperator(context.objective, space, route=s.route, **options),
            "gauss-newton": lambda: GaussNewtonOperator(context.objective, space, **options),
            "fisher": lambda: EmpiricalFisherOperator(context.objective, space, **options),
        }
        context.operators[space.name] = made[s.operator]()
    return context.operators[space.name]


def _route(context: Context, space: ParameterSpace) -> Values:
    operator = context.operators.get(space.name)
    chosen = asdict(operator.choose()) if isinstance(operator, HessianOperator) else None
    return {"operator": context.settings.operator, "backend": context.settings.backend, "route": chosen}


def _storage(settings: MeasureSettings) -> dict[str, Any]:
    dtype = None if settings.basis_dtype == "same" else torch.bfloat16
    # Densities and traces always hold a basis.
    storage = "device" if settings.basis_storage == "none" else settings.basis_storage
    return {"basis_storage": storage, "basis_dtype": dtype}
