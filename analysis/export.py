"""Handing an operator to libraries that know other vectors: SciPy, and curvlinops for whatever builds on it.

SciPy's vectors are flat: the blocks of the space one after the other, in float64 on the CPU; one copy of a vector is
made each way per product. curvlinops takes flat tensors or lists of blocks, on the operator's device and in its type,
and composes operators. In a subspace of the weights, such as the tangent space, the entries are those of the
weights: P M P has zero eigenvalues there that the operator on the subspace has not. Neither library is a dependency;
curvlinops' own pulls in torchvision, which breaks transformers beside a CPU build of torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from analysis.errors import AnalysisError
from analysis.krylov import Floats
from analysis.operators import CurvatureOperator

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator


def to_scipy(operator: CurvatureOperator) -> LinearOperator:
    """Return an operator as a `scipy.sparse.linalg.LinearOperator` (N, N), N the entries of its vectors.

    Args:
        operator: Any operator.

    Raises:
        AnalysisError: SciPy is not installed.
    """
    try:
        from scipy.sparse.linalg import LinearOperator
    except ImportError as error:
        raise AnalysisError("SciPy is not installed; run `pip install scipy`") from error
    like = operator.random_direction(seed=0, stream="export")
    sizes = [block.numel() for block in like]

    def matvec(flat: Floats) -> Floats:
        parts = torch.from_numpy(np.ascontiguousarray(flat, dtype=np.float64).reshape(-1)).split_with_sizes(sizes)
        vector = [part.view(block.shape).to(block) for part, block in zip(parts, like, strict=True)]
        return np.concatenate([block.detach().double().flatten().cpu().numpy() for block in operator.matvec(vector)])

    count = sum(sizes)
    return LinearOperator((count, count), matvec=matvec, rmatvec=matvec if operator.symmetric else None, dtype=float)


def to_curvlinops(operator: CurvatureOperator) -> Any:
    """Return a symmetric operator as a `curvlinops` linear operator with one block per parameter.

    Args:
        operator: A symmetric operator.

    Raises:
        AnalysisError: curvlinops 3 is not installed, or the operator is not symmetric, which it would have to know.
    """
    try:
        from curvlinops._torch_base import PyTorchLinearOperator
    except ImportError as error:
        raise AnalysisError(
            "curvlinops 3 is not installed; run `pip install --no-deps 'curvlinops-for-pytorch<4' backpack-for-pytorch "
            "einconv einops linear_operator opt_einsum unfoldNd jaxtyping wadler_lindig` to keep torchvision out"
        ) from error
    if not operator.symmetric:
        raise AnalysisError("the operator is not symmetric, and its adjoint is not known; export it to SciPy instead")
    like = operator.random_direction(seed=0, stream="export")

    class Exported(PyTorchLinearOperator):
        SELF_ADJOINT = True
        device = like[0].device
        dtype = like[0].dtype

        def _matmat(self, X: list[Tensor]) -> list[Tensor]:
            columns = zip(*(block.unbind(-1) for block in X), strict=True)
            products = [operator.matvec([block.contiguous() for block in column]) for column in columns]
            return [torch.stack(blocks, dim=-1) for blocks in zip(*products, strict=True)]

    shapes = [tuple(block.shape) for block in like]
    return Exported(shapes, shapes)
