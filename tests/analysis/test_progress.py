from __future__ import annotations

import pytest

from analysis.progress import time_left, within


def test_a_part_reports_its_share_of_the_whole() -> None:
    reports: list[tuple[float, str]] = []
    inner = within(lambda done, note: reports.append((done, note)), 0.2, 0.6, label="spectrum")
    inner(0.0, "begun")
    inner(0.5, "half")
    assert reports[0] == (pytest.approx(0.2), "spectrum: begun")
    assert reports[1] == (pytest.approx(0.4), "spectrum: half")


def test_time_left_is_that_of_equal_pieces() -> None:
    assert time_left(10.0, 2, 8) == "about 30 s left"
    assert time_left(60.0, 1, 4) == "about 3 min left"
    assert time_left(5.0, 4, 4) == "about 0 s left"
