from __future__ import annotations

import itertools
from dataclasses import asdict

import pytest
from scipy.stats import qmc

from benchmarks.trials import RADII, RATES, radius_option, trials, van_der_corput
from bilora import create_method
from bilora.methods import METHODS

COUNT = 27


@pytest.mark.parametrize("base", [2, 3])
def test_the_sequence_is_scipys(base: int) -> None:
    reference = qmc.Halton(d=2, scramble=False).random(COUNT)[:, {2: 0, 3: 1}[base]]
    assert [van_der_corput(index, base=base) for index in range(COUNT)] == pytest.approx(reference.tolist())


def test_every_method_has_as_many_trials_over_the_same_learning_rates() -> None:
    rates = {name: [trial.rate_factor for trial in trials(name, COUNT)] for name in METHODS}
    assert all(found == rates["lora"] for found in rates.values())
    assert len(rates["lora"]) == len(set(rates["lora"])) == COUNT
    assert rates["lora"][:4] == [1.0, 0.5, 2.0, 0.354]
    assert all(RATES[0] < rate < RATES[1] for rate in rates["lora"])


@pytest.mark.parametrize("name", list(METHODS))
def test_the_first_trial_is_the_default_and_every_setting_is_one_of_the_method(name: str) -> None:
    default = asdict(create_method(name).options)
    first, *rest = trials(name, COUNT)
    assert first.rate_factor == 1.0
    assert first.options(name, default) == default
    option = radius_option(name)
    for trial in rest:
        options = trial.options(name, default)
        assert asdict(create_method(name, **options).options) == options
        assert {key for key in default if options[key] != default[key]} <= {option}
        if option is not None:
            assert RADII[0] < options[option] < RADII[1]


def test_radii_are_found_by_their_names() -> None:
    found = {name: radius_option(name) for name in ("lora", "lora-sam", "bilora", "flat-lora", "fsam", "lora-obar")}
    assert found == {
        "lora": None,
        "lora-sam": "rho",
        "bilora": "rho",
        "flat-lora": "sigma",
        "fsam": "rho",
        "lora-obar": None,
    }


def test_a_longer_search_begins_with_a_shorter_one_and_covers_all_sizes_of_radii() -> None:
    assert trials("bilora", 8) == trials("bilora", 20)[:8]
    radii = [trial.radius for trial in trials("bilora", 10) if trial.radius is not None]
    edges = [0.001, 0.00794, 0.063, 0.5]  # thirds of the logarithmic range
    counts = [sum(low <= radius < high for radius in radii) for low, high in itertools.pairwise(edges)]
    assert min(counts) >= 2
