"""Curvature as a linear operator: Hessian, Gauss-Newton, empirical Fisher, and their restriction to a basis."""

from analysis.operators.base import CurvatureOperator, SpaceOperator
from analysis.operators.hessian import HessianOperator
from analysis.operators.logits import EmpiricalFisherOperator, GaussNewtonOperator
from analysis.operators.routes import ROUTES, RouteChoice, check_route
from analysis.operators.subspace import BasisOperator, SubspaceCurvature, subspace_curvature

__all__ = [
    "ROUTES",
    "BasisOperator",
    "CurvatureOperator",
    "EmpiricalFisherOperator",
    "GaussNewtonOperator",
    "HessianOperator",
    "RouteChoice",
    "SpaceOperator",
    "SubspaceCurvature",
    "check_route",
    "subspace_curvature",
]
