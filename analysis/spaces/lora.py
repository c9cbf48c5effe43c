"""The LoRA space: the factors (A, B) of the adapter as coordinates, in the balanced gauge.

Replacing (A, B) by (G A, B G^-1) leaves the model as it is but changes gradient and Hessian in (A, B): scaling A by c
and B by 1/c moved the largest eigenvalue of one model between 0.8 and 11.6. So the space is entered by an exact change
to the factors with A A^T = B^T B, unique up to a rotation, which no eigenvalue depends on; the
rotation is fixed by the singular vectors of B A, so that directions drawn at random agree too. Leaving writes the
original bits back. An adapter whose product is zero has no balanced gauge with a gradient, and is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from analysis.errors import SpaceError
from analysis.spaces.adapted import AUXILIARY, activated, adapted_layers, kind_of, tuner_layers
from analysis.spaces.base import ParameterSpace
from analysis.spaces.radius import smallest_scale


def balanced_factors(A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """Return A' (r, n), B' (m, r) with B' A' = B A and A' A'^T = B'^T B' = S, the singular values of B A.

    With B = Q_B R_B and A^T = Q_A R_A (thin QR) and R_B R_A^T = U S V^T, B' = Q_B U S^(1/2) and
    A' = S^(1/2) V^T Q_A^T. Work is in float64; the sign of each pair of singular vectors is fixed by making the
    largest entry of the column of Q_B U positive. Rows and columns beyond min(m, n) are zero.
    """
    rank = len(A)
    q_b, r_b = torch.linalg.qr(B.detach().double())
    q_a, r_a = torch.linalg.qr(A.detach().double().mT)
    left, values, right = torch.linalg.svd(r_b @ r_a.mT, full_matrices=False)
    columns, rows = q_b @ left, right @ q_a.mT
    largest = columns.gather(0, columns.abs().argmax(dim=0, keepdim=True)).squeeze(0)
    root = values.sqrt().copysign(largest)
    missing = rank - len(values)
    balanced_a = nn.functional.pad(root[:, None] * rows, (0, 0, 0, missing))
    balanced_b = nn.functional.pad(columns * root, (0, missing))
    return balanced_a.to(A.dtype), balanced_b.to(B.dtype)


class LoraSpace(ParameterSpace):
    """The factors of every adapted layer in the balanced gauge; blocks are A_1, B_1, A_2, B_2, ...

    Args:
        model: A PEFT LoRA model.
        adapter: Whose factors, as in `adapted_layers`. While the space is entered this adapter is active, beside
            those that are: the loss has to depend on its factors.

    Raises:
        SpaceError: No adapted layer, factors narrower than float32, or an adapter that is zero in all layers.
    """

    name = "lora"

    def __init__(self, model: nn.Module, *, adapter: str | None = None) -> None:
        with activated(model, adapter):
            self.layers = adapted_layers(model, adapter=adapter)
        if len({layer.adapter for layer in self.layers}) > 1:
            # A layer that only the auxiliary covers has no factors of the primary.
            self.layers = [layer for layer in self.layers if layer.adapter != AUXILIARY]
        self.adapter = adapter
        if not self.layers:
            raise SpaceError(no_factors(model, self.name))
        blocks = {}
        for layer in self.layers:
            blocks[f"{layer.name}.A"] = layer.A
            blocks[f"{layer.name}.B"] = layer.B
        super().__init__(model, blocks)
        self.check_wide()

    @contextmanager
    def _balanced(self) -> Iterator[None]:
        """Write the balanced factors and, at the end, the original bits."""
        saved = [(layer, layer.A.detach().clone(), layer.B.detach().clone()) for layer in self.layers]
        balanced = [balanced_factors(layer.A, layer.B) for layer in self.layers]
        if not any(a.any() for a, _ in balanced):
            raise SpaceError(
                "B A is zero in every layer (an untrained adapter), and then the balanced gauge has no gradient; "
                "measure in the full or the tangent space"
            )
        try:
            with torch.no_grad():
                for layer, (a, b) in zip(self.layers, balanced, strict=True):
                    layer.A.copy_(a)
                    layer.B.copy_(b)
            yield
        finally:
            with torch.no_grad():
                for layer, a, b in saved:
                    layer.A.copy_(a)
                    layer.B.copy_(b)

    @contextmanager
    def _entered(self) -> Iterator[None]:
        with activated(self.model, self.adapter), self._balanced():
            yield

    def _gauge(self) -> AbstractContextManager[None]:
        return self._entered()

    def merged_weights(self) -> Iterator[Tensor]:
        """Yield W = W0 + s B A of every layer."""
        for layer in self.layers:
            yield layer.merged()

    def _squared_norm_coefficients(self, vector: Sequence[Tensor]) -> tuple[float, float, float]:
        """Return (c2, c3, c4) of ||dW(t)||_F^2 = c2 t^2 + c3 t^3 + c4 t^4 for a move by t (a, b).

        dW(t) = s t (B a + b A) + s t^2 b a per layer: the product of the moved factors less B A, already factored,
        so that no two large numbers are subtracted. All terms come from r x r Gram matrices in float64; with
        G_XY = X^T Y of columns and H_XY = X Y^T of rows, <X u, Y w>_F = sum(G_XY * H_uw).
        """
        c2 = c3 = c4 = 0.0
        for layer, first, second in zip(self.layers, vector[::2], vector[1::2], strict=True):
            A, B, a, b = (t.detach().double() for t in (layer.A, layer.B, first, second))
            g_bb, g_bm, g_mm = B.mT @ B, B.mT @ b, b.mT @ b
            h_aa, h_am, h_mm = A @ A.mT, a @ A.mT, a @ a.mT
            linear = (g_bb * h_mm).sum() + 2 * (g_bm * h_am).sum() + (g_mm * h_aa).sum()
            mixed = (g_bm * h_mm).sum() + (g_mm * h_am.mT).sum()
            squares = torch.stack([linear, 2 * mixed, (g_mm * h_mm).sum()]) * layer.scaling**2
            per_layer = squares.tolist()
            c2, c3, c4 = c2 + per_layer[0], c3 + per_layer[1], c4 + per_layer[2]
        return c2, c3, c4

    def displacement_norm(self, vector: Sequence[Tensor]) -> float:
        """Return ||dW||_F = sqrt(sum_l ||s [(B + b)(A + a) - B A]||_F^2) of moving the factors by (a, b)."""
        with self:
            return float(np.sqrt(max(sum(self._squared_norm_coefficients(vector)), 0.0)))

    def scale_to_radius(self, vector: Sequence[Tensor], radius: float) -> float:
        """Return the smallest t >= 0 at which moving by t (a, b) moves the weights by `radius`.

        Raises:
            DirectionError: The vector does not move the weights.
        """
        with self:
            c2, c3, c4 = self._squared_norm_coefficients(vector)
        return smallest_scale(c2, c3, c4, radius)


class AuxiliarySpace(LoraSpace):
    """The factors of the adapter named "auxiliary", Bi-LoRA's second, in the balanced gauge.

    The loss is that with the auxiliary active, at the weights that it perturbs, whether or not it was active before.
    """

    name = "auxiliary"

    def __init__(self, model: nn.Module, *, adapter: str | None = None) -> None:
        super().__init__(model, adapter=adapter or AUXILIARY)


def no_factors(model: nn.Module, space: str) -> str:
    """Return why a model has no space of factors."""
    other = next((kind_of(module) for _, module in tuner_layers(model)), None)
    if other is None:
        return f"the {space} space needs a PEFT LoRA model; this model has no adapted layer"
    return (
        f"the {space} space needs a PEFT LoRA model; this one is adapted by {other}, whose matrix is not W0 + s B A: "
        "measure in the full space instead"
    )
