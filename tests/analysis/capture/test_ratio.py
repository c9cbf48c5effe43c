from __future__ import annotations

import pytest
import torch
from peft import LoraConfig

from analysis import Objective, SettingsError, parameter_space, vectors
from analysis.capture import captured_sharpness
from analysis.sharpness import WeightNorm, linearise, worst_case

SETTINGS = {"max_steps": 40, "tolerance": 1e-6}


@pytest.mark.parametrize("name", ["tangent", "lora"])
def test_a_subspace_sees_a_share_of_the_full_sharpness(tiny_lora, batches, name) -> None:
    model = tiny_lora()
    objective = Objective(model, batches)
    full, subspace = parameter_space(model, "full"), parameter_space(model, name)
    found = captured_sharpness(objective, subspace, full, radius=0.1, **SETTINGS)
    inside = worst_case(objective, subspace, radius=0.1, **SETTINGS).increase
    outside = worst_case(objective, full, radius=0.1, **SETTINGS).increase
    assert found.ratio == pytest.approx(inside / outside, rel=1e-4)
    assert 0.0 < found.ratio < 1.0


def test_for_a_small_radius_the_ratio_is_the_cosine_of_the_gradients(tiny_lora, batches) -> None:
    model = tiny_lora()
    objective = Objective(model, batches)
    full, tangent = parameter_space(model, "full"), parameter_space(model, "tangent")
    found = captured_sharpness(objective, tangent, full, radius=1e-5, max_steps=1)
    with full, tangent:
        gradient = linearise(objective, full).gradient
        expected = vectors.norm(tangent.project(gradient)) / vectors.norm(gradient)
    assert found.first_order == pytest.approx(expected, rel=1e-9)
    assert found.ratio == pytest.approx(expected, rel=1e-3)


def test_the_full_space_is_never_below_its_subspace(tiny_lora, batches) -> None:
    # One step of the full ascent against many of the subspace's: only the shared start keeps the ratio below one.
    model = tiny_lora()
    objective = Objective(model, batches)
    full, tangent = parameter_space(model, "full"), parameter_space(model, "tangent")
    for norm in ("absolute", "adaptive"):
        reports: list[float] = []
        found = captured_sharpness(
            objective,
            tangent,
            full,
            radius=2.0,
            norm=WeightNorm(norm),
            max_steps=3,
            restarts=2,
            on_progress=lambda done, note, reports=reports: reports.append(done),
        )
        assert found.ratio <= 1.0 + 1e-9
        assert len(found.full.starts) == 4
        assert reports == sorted(reports)
        assert reports[-1] == 1.0


def test_spaces_of_other_layers_are_refused(tiny_lora, batches) -> None:
    model = tiny_lora()
    other = parameter_space(tiny_lora(targets=("q_proj",)), "full")
    with pytest.raises(SettingsError, match="moves other matrices"):
        captured_sharpness(Objective(model, batches), parameter_space(model, "lora"), other, radius=0.1, max_steps=1)


def test_spaces_at_different_weights_are_refused(tiny_lora, batches) -> None:
    model = tiny_lora()
    model.add_adapter("auxiliary", LoraConfig(r=2, target_modules=["q_proj", "v_proj", "down_proj"]))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".auxiliary." in name:
                parameter.data = torch.full_like(parameter, 0.3, dtype=torch.float64)
    spaces = parameter_space(model, "auxiliary"), parameter_space(model, "full")
    with pytest.raises(SettingsError, match="make the same adapters active for both"):
        captured_sharpness(Objective(model, batches), *spaces, radius=0.1, max_steps=1)
    model.base_model.set_adapter(["default", "auxiliary"])
    spaces = parameter_space(model, "auxiliary"), parameter_space(model, "full")
    found = captured_sharpness(Objective(model, batches), *spaces, radius=0.1, max_steps=3)
    assert 0.0 < found.ratio <= 1.0
