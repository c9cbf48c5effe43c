from __future__ import annotations

import statistics

import pytest

from analysis.standard_error import mean_and_error, t_quantile


def test_mean_and_error_are_those_of_the_standard_library() -> None:
    samples = [1.0, 2.5, -0.5, 4.0]
    mean, error = mean_and_error(samples)
    assert mean == pytest.approx(statistics.fmean(samples))
    assert error == pytest.approx(statistics.stdev(samples) / 2.0)
    assert mean_and_error([3.0]) == (3.0, 0.0)


@pytest.mark.parametrize(("freedom", "table"), [(3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042), (10**6, 1.960)])
def test_the_t_quantile_is_that_of_the_tables(freedom, table) -> None:
    assert t_quantile(freedom) == pytest.approx(table, rel=1e-2)
