from __future__ import annotations

from itertools import combinations

import numpy as np

from benchmarks.pocket.pictures.distances import Plane
from benchmarks.pocket.pictures.subjects import SUBJECTS

AXIS = np.linspace(-1.2, 1.2, 97)
AT = Plane(*np.meshgrid(AXIS, AXIS))
INSIDE = {name: subject(AT) < 0 for name, subject in SUBJECTS.items()}


def test_every_thing_fills_its_frame_and_stays_within_it() -> None:
    for name, inside in INSIDE.items():
        assert 0.04 < inside.mean() < 0.6, name
        assert not inside[[0, -1]].any(), name
        assert not inside[:, [0, -1]].any(), name


def test_no_two_things_look_alike() -> None:
    for first, second in combinations(INSIDE, 2):
        a, b = INSIDE[first], INSIDE[second]
        assert (a & b).sum() / (a | b).sum() < 0.85, (first, second)
