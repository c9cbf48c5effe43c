from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch

from analysis import SettingsError, low_rank
from analysis.capture import adversary_quality, optimal_adversary
from analysis.dynamics import DynamicsRecorder, perturbation_terms


def layers(seed: int):
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(2, 6, generator=generator), torch.randn(5, 2, generator=generator), 2.0)]


def test_a_run_is_recorded_as_its_parts_give_it() -> None:
    gradient = [torch.randn(5, 6, generator=torch.Generator().manual_seed(9))]
    step = [(0.1 * torch.ones(2, 6), 0.2 * torch.ones(5, 2))]
    recorder = DynamicsRecorder(every=2)
    for index in range(6):
        recorder.record(
            index,
            layers(index),
            auxiliary=layers(10 + index),
            perturbation=step if index == 2 else None,
            gradient=gradient if index == 4 else None,
            radius=0.5,
            clip_active=index >= 2,
        )
    found = recorder.finish()
    assert found.steps == (0, 2, 4)
    assert found.clip_active == pytest.approx(4 / 6)
    assert found.primary_norms == pytest.approx([low_rank.norm(layers(i)) for i in (0, 2, 4)])
    assert found.auxiliary_norms == pytest.approx([low_rank.norm(layers(10 + i)) for i in (0, 2, 4)])
    assert found.terms == ((2, perturbation_terms(layers(2), step)),)
    assert found.quality == ((4, adversary_quality(gradient, layers(14), radius=0.5)),)
    assert found.auxiliary is not None
    assert found.primary.product[2] == pytest.approx(1.0)
    assert found.primary.A[0] != found.auxiliary.A[0]
    json.dumps(asdict(found), allow_nan=False)


def test_snapshots_are_not_changed_by_later_training() -> None:
    (a, b, s) = layers(0)[0]
    recorder = DynamicsRecorder()
    recorder.record(0, [(a, b, s)])
    b.mul_(-1.0)
    recorder.record(1, [(a, b, s)])
    found = recorder.finish()
    assert list(found.primary.B) == pytest.approx([-1.0, 1.0])
    assert (found.auxiliary, found.auxiliary_norms, found.clip_active) == (None, None, None)
    assert found.terms == found.quality == ()


def test_the_ideal_auxiliary_has_quality_one() -> None:
    gradient = [torch.randn(5, 6, generator=torch.Generator().manual_seed(9))]
    recorder = DynamicsRecorder()
    best = optimal_adversary(gradient, radius=0.5, rank=2)
    recorder.record(0, layers(0), auxiliary=best, gradient=gradient, radius=0.5)
    ((_, quality),) = recorder.finish().quality
    assert quality.quality == pytest.approx(1.0, rel=1e-5)


def test_impossible_calls_are_refused() -> None:
    with pytest.raises(SettingsError, match="every is 0"):
        DynamicsRecorder(every=0)
    recorder = DynamicsRecorder()
    with pytest.raises(SettingsError, match="no snapshots"):
        recorder.finish()
    recorder.record(3, layers(0))
    with pytest.raises(SettingsError, match="step 3 after step 3"):
        recorder.record(3, layers(0))
    with pytest.raises(SettingsError, match="at every step or never"):
        recorder.record(4, layers(0), auxiliary=layers(1))
    with pytest.raises(SettingsError, match="give auxiliary= and radius= too"):
        recorder.record(4, layers(0), gradient=[torch.ones(5, 6)])
