"""What a perturbation of the factors does to the weights, term by term.

    s [(B + eps_B)(A + eps_A) - B A] = s (B eps_A + eps_B A) + s eps_B eps_A

The first part of the linear term lies in Col(B), the second in Row(A): LoRA-SAM perturbs the weights within the
subspace that the adapter already has, which is the Bi-LoRA paper's argument against it. The norms of all parts are
taken from Gram matrices, so that they can be recorded at every step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from analysis import low_rank, vectors
from analysis.errors import DirectionError, SettingsError
from analysis.low_rank import Factors
from analysis.sharpness.norms import check_radius

Step = tuple[Tensor, Tensor]
"""(eps_A (r, n), eps_B (m, r)) of one layer."""


@dataclass(frozen=True)
class PerturbationTerms:
    """Norms of the parts of dW, each over all layers: sqrt(sum_l ||.||_F^2).

    Attributes:
        total: ||dW||.
        linear: ||s (B eps_A + eps_B A)||.
        bilinear: ||s eps_B eps_A||.
        column: ||s B eps_A||, in Col(B).
        row: ||s eps_B A||, in Row(A).
        coordinates: sqrt(||eps_A||^2 + ||eps_B||^2), the radius in which LoRA-SAM is stated.
    """

    total: float
    linear: float
    bilinear: float
    column: float
    row: float
    coordinates: float


def perturbation_terms(layers: Sequence[Factors], perturbation: Sequence[Step]) -> PerturbationTerms:
    """Return the norms of the parts of the weights' change.

    Args:
        layers: (A, B, s) of every layer, unperturbed.
        perturbation: (eps_A, eps_B) of the same layers.

    Raises:
        SettingsError: The numbers of layers differ.
    """
    if len(layers) != len(perturbation):
        raise SettingsError(f"{len(perturbation)} perturbed layers for {len(layers)} layers of the adapter")
    column, row, linear, bilinear, total = [], [], [], [], []
    for (a, b, s), (eps_a, eps_b) in zip(layers, perturbation, strict=True):
        column.append((eps_a, b, s))
        row.append((a, eps_b, s))
        linear.append((torch.cat([eps_a, a]), torch.cat([b, eps_b], dim=1), s))
        bilinear.append((eps_a, eps_b, s))
        total.append((torch.cat([eps_a, a]), torch.cat([b + eps_b, eps_b], dim=1), s))
    return PerturbationTerms(
        total=low_rank.norm(total),
        linear=low_rank.norm(linear),
        bilinear=low_rank.norm(bilinear),
        column=low_rank.norm(column),
        row=low_rank.norm(row),
        coordinates=math.hypot(*(vectors.norm(step) for step in perturbation)),
    )


def sam_perturbation(gradients: Sequence[Step], *, radius: float) -> list[Step]:
    """Return rho g / ||g|| with one norm over all factors of all layers: the ascent of LoRA-SAM.

    Args:
        gradients: (dL/dA, dL/dB) of every layer.
        radius: rho > 0, in the coordinates of the factors.

    Raises:
        SettingsError: The radius is not positive.
        DirectionError: The gradient is zero.
    """
    check_radius(radius)
    length = math.hypot(*(vectors.norm(step) for step in gradients))
    if length == 0.0:
        raise DirectionError("the gradient is zero in every factor, so there is nothing to ascend")
    return [(radius / length * a, radius / length * b) for a, b in gradients]
