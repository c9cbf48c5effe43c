from __future__ import annotations

import pytest
import torch

from analysis import DirectionError, Objective, SettingsError
from analysis.dynamics import perturbation_terms, sam_perturbation
from analysis.spaces import adapted_layers


def test_terms_are_the_norms_of_the_dense_parts(tiny_lora, batches) -> None:
    model = tiny_lora()
    layers = adapted_layers(model)
    gradient = Objective(model, batches).gradient([t for layer in layers for t in (layer.A, layer.B)])
    steps = sam_perturbation(list(zip(gradient[::2], gradient[1::2], strict=True)), radius=0.5)
    found = perturbation_terms([(layer.A, layer.B, layer.scaling) for layer in layers], steps)
    parts = {"total": 0.0, "linear": 0.0, "bilinear": 0.0, "column": 0.0, "row": 0.0, "coordinates": 0.0}
    with torch.no_grad():
        for layer, (eps_a, eps_b) in zip(layers, steps, strict=True):
            s, A, B = layer.scaling, layer.A, layer.B
            parts["total"] += float((s * ((B + eps_b) @ (A + eps_a) - B @ A)).square().sum())
            parts["linear"] += float((s * (B @ eps_a + eps_b @ A)).square().sum())
            parts["bilinear"] += float((s * eps_b @ eps_a).square().sum())
            parts["column"] += float((s * B @ eps_a).square().sum())
            parts["row"] += float((s * eps_b @ A).square().sum())
            parts["coordinates"] += float(eps_a.square().sum() + eps_b.square().sum())
    for name, square in parts.items():
        assert getattr(found, name) == pytest.approx(square**0.5, rel=1e-9), name
    assert found.coordinates == pytest.approx(0.5, rel=1e-12)
    # The step follows the gradient.
    assert all(torch.allclose(e / e.norm(), g / g.norm()) for (e, _), g in zip(steps, gradient[::2], strict=True))


def test_an_untrained_adapter_is_moved_in_its_rows_alone() -> None:
    layers = [(torch.randn(2, 5), torch.zeros(4, 2), 2.0)]
    found = perturbation_terms(layers, [(torch.zeros(2, 5), torch.ones(4, 2))])
    assert found.column == found.bilinear == 0.0
    assert found.row == found.total == found.linear > 0.0


def test_impossible_inputs_are_refused() -> None:
    zero = [(torch.zeros(1, 2), torch.zeros(2, 1))]
    with pytest.raises(DirectionError, match="gradient is zero"):
        sam_perturbation(zero, radius=0.1)
    with pytest.raises(SettingsError, match="positive distance"):
        sam_perturbation(zero, radius=0.0)
    with pytest.raises(SettingsError, match="1 perturbed layers for 0"):
        perturbation_terms([], zero)
