from __future__ import annotations

from benchmarks.executors.utilisation import Utilisation


def test_samples_between_two_moments_are_averaged_by_gpu() -> None:
    found = Utilisation()
    for moment, line in ((1.0, "0, 90"), (2.0, "0, 10"), (2.0, "1, 50"), (3.0, "0, 21"), (2.5, "no devices found")):
        found.take(line, moment)
    assert found.means(1.5, 3.0) == {"0": 15.5, "1": 50.0}
