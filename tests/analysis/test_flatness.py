from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest

from analysis import (
    FlatnessSettings,
    HessianOperator,
    Objective,
    ObjectiveError,
    SpaceError,
    average_case,
    eigenvalues,
    gradient_norms,
    linearise,
    measure_flatness,
    parameter_space,
    worst_case,
)

QUICK = FlatnessSettings(
    spaces=("full", "lora", "tangent"), top=2, bottom=1, tolerance=1e-5, average_draws=2, slice_points=3, ascent_steps=3
)


def test_the_record_is_made_of_what_the_parts_give(tiny_lora, batches) -> None:
    model = tiny_lora()
    objective = Objective(model, batches)
    record = measure_flatness(objective, model, QUICK)
    assert record.loss == Objective(model, batches).value()
    for name in QUICK.spaces:
        found = record.spaces[name]
        with parameter_space(model, name) as space:
            assert found.dimension == space.dimension
            spectrum = eigenvalues(HessianOperator(objective, space), top=2, bottom=1, tolerance=1e-5)
            one_step = worst_case(objective, space, radius=0.05, max_steps=1)
            ascent = worst_case(objective, space, radius=0.05, max_steps=3)
            average = average_case(objective, space, radius=1.0, max_draws=2)
            gradient = gradient_norms(linearise(objective, space).gradient, space.names, rank=8)
        np.testing.assert_allclose([p.value for p in found.top], [p.value for p in spectrum.top], rtol=1e-9)
        assert found.products == spectrum.products
        assert found.worst_case_one_step.increase == pytest.approx(one_step.increase, rel=1e-9)
        assert found.worst_case.increase == pytest.approx(ascent.increase, rel=1e-9)
        assert found.worst_case.increase >= found.worst_case_one_step.increase
        if name == "lora":
            assert found.gradient is None
        else:
            assert found.gradient.top_rank == pytest.approx(gradient.top_rank, rel=1e-9)
            assert found.gradient.norm == pytest.approx(record.gradient_norm[name], rel=1e-9)
        assert found.average_case.increase == pytest.approx(average.increase, rel=1e-9)
        assert record.gradient_norm[name] == pytest.approx(one_step.gradient_norm, rel=1e-12)
        assert found.slices.losses[0][1] == pytest.approx(record.loss, rel=1e-12)
        # The gradient at the start is shared; the ascent takes one for each point but the last.
        assert found.gradient_evaluations == 2
        assert found.evaluations == 1 + 1 + 2 * 2 + 2 * 2


def test_the_record_is_json_with_the_documented_layout(tiny_lora, batches) -> None:
    model = tiny_lora()
    record = measure_flatness(Objective(model, batches), model, QUICK)
    loaded = json.loads(json.dumps(asdict(record), allow_nan=False))
    assert set(loaded) == {"settings", "loss", "gradient_norm", "spaces", "seconds"}
    full = loaded["spaces"]["full"]
    assert set(full) == {
        "dimension",
        "top",
        "bottom",
        "products",
        "gradient",
        "worst_case_one_step",
        "worst_case",
        "average_case",
        "slices",
        "seconds",
        "evaluations",
        "gradient_evaluations",
    }
    assert set(full["top"][0]) == {"value", "residual", "relative_residual", "converged"}
    assert {"increase", "radius", "converged", "norm", "lengths"} <= set(full["worst_case"])
    assert set(full["gradient"]["layers"][0]) == {"name", "norm", "singular_values", "nuclear", "residual"}
    assert {"increase", "standard_error", "radius", "draws"} <= set(full["average_case"])
    assert np.shape(full["slices"]["losses"]) == np.shape(full["slices"]["weight_norms"]) == (2, 3)
    assert FlatnessSettings(**loaded["settings"]).radius == QUICK.radius


def test_what_is_left_out_is_none(tiny_lora, batches) -> None:
    model = tiny_lora()
    settings = FlatnessSettings(spaces=("full",), top=0, bottom=0, gradient_rank=0, average_draws=0, slice_directions=0)
    found = measure_flatness(Objective(model, batches), model, settings).spaces["full"]
    assert found.top == found.bottom == ()
    assert found.products == 0
    assert found.gradient is None
    assert found.average_case is None
    assert found.slices is None


def test_the_model_is_left_as_it_was_and_two_measurements_agree(tiny_lora, batches, snapshot) -> None:
    model = tiny_lora(config={"lora_dropout": 0.3}).train()
    check = snapshot(model)
    first = measure_flatness(Objective(model, batches), model, QUICK)
    check()
    again = measure_flatness(Objective(model, batches), model, QUICK)
    for name in QUICK.spaces:
        assert first.spaces[name].top == again.spaces[name].top
        assert first.spaces[name].worst_case == again.spaces[name].worst_case
        assert first.spaces[name].slices == again.spaces[name].slices


def test_progress_rises_from_zero_to_one(tiny_lora, batches) -> None:
    model = tiny_lora()
    reports: list[tuple[float, str]] = []
    measure_flatness(
        Objective(model, batches), model, QUICK, on_progress=lambda done, note: reports.append((done, note))
    )
    fractions = [done for done, _ in reports]
    assert fractions == sorted(fractions)
    assert 0.0 < fractions[0] < 0.1
    assert fractions[-1] == pytest.approx(1.0)
    assert reports[0][1].startswith("full: spectrum: 1 products")


def test_a_missing_space_is_known_before_any_work(tiny_llama, batches) -> None:
    model = tiny_llama()
    objective = Objective(model, batches)
    with pytest.raises(SpaceError, match="needs a PEFT LoRA model"):
        measure_flatness(objective, model)
    assert objective.evaluations == objective.gradient_evaluations == 0


def test_a_random_loss_is_refused_unless_the_check_is_off(tiny_lora, batches) -> None:
    import torch

    model = tiny_lora()

    def loss(module, batch):
        total, count = Objective(module, [batch]).batch_loss(0)
        return total * (1.0 + 0.1 * torch.rand(())), count

    with pytest.raises(ObjectiveError, match="not deterministic"):
        measure_flatness(Objective(model, batches, loss=loss), model)
    off = FlatnessSettings(
        spaces=("full",), top=0, bottom=0, average_draws=0, slice_directions=0, check_determinism=False
    )
    assert measure_flatness(Objective(model, batches, loss=loss), model, off).loss > 0.0


def test_importing_the_package_is_quiet_and_brings_neither_peft_nor_transformers() -> None:
    code = "import sys, analysis; print(sorted({'peft', 'transformers', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
