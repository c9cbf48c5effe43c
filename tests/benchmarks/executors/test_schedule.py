from __future__ import annotations

from benchmarks.executors.schedule import RunQueue


def taken(queue: RunQueue, worker: int = 0) -> list[int]:
    found = []
    while (index := queue.take(worker)) is not None:
        found.append(index)
    return found


def test_the_longest_run_is_taken_first_and_equal_ones_keep_their_order() -> None:
    assert taken(RunQueue([1.0, 3.0, 2.0, 3.0])) == [1, 3, 2, 0]


def test_runs_of_a_family_are_expected_to_take_what_its_finished_ones_took() -> None:
    queue = RunQueue([2.0, 1.0, 2.0, 1.0, 2.0, 1.0], families=["a", "b"] * 3)
    assert queue.take(0) == 0
    queue.settle(0, seconds=3.0)
    assert queue.take(0) == 2  # 3 against 1.5, scaled as the other family turned out
    queue.settle(2, seconds=1.0)
    # Two of 2 seconds in the mean: the scale is 1 again.
    assert queue.take(0) == 4
    assert queue.take(0) == 1
    queue.settle(1, seconds=9.0)
    assert taken(queue) == [3, 5]


def test_a_family_that_turns_out_longer_overtakes() -> None:
    queue = RunQueue([2.0, 1.0] * 3, families=["a", "b"] * 3)
    assert [queue.take(worker) for worker in range(4)] == [0, 2, 4, 1]
    queue.settle(0, seconds=2.0)
    queue.settle(1, seconds=9.0)
    queue.lose(2, 1)
    assert taken(queue, 9) == [3, 5, 2]


def test_a_lost_run_goes_to_another_worker_and_is_given_up_at_the_limit() -> None:
    queue = RunQueue([5.0, 1.0], limit=3)
    assert queue.take(0, ready=[0, 1]) == 0
    assert queue.lose(0, 0)
    assert queue.take(0, ready=[0, 1]) == 1  # not the one that it was lost on
    assert queue.take(1, ready=[0, 1]) == 0
    assert queue.lose(0, 1)
    assert queue.take(0, ready=[0, 1]) == 0  # there is none that it was not lost on
    assert not queue.lose(0, 0)
    assert queue.losses(0) == 3
    assert queue.unsettled == {1}
    queue.settle(1)
    assert queue.is_settled


def test_a_lost_run_waits_for_a_worker_that_is_ready_and_for_no_other() -> None:
    queue = RunQueue([5.0])
    queue.take(0)
    queue.lose(0, 0)
    assert queue.take(0, ready=[0, 1]) is None
    assert queue.take(0, ready=[0]) == 0


def test_a_postponed_run_is_looked_at_again_in_time() -> None:
    queue = RunQueue([1.0, 2.0])
    assert queue.take(0, now=0.0) == 1
    queue.postpone(1, until=10.0)
    assert queue.take(0, now=9.0) == 0
    assert queue.take(0, now=9.0) is None
    assert queue.unsettled == {0, 1}
    assert queue.take(0, now=10.0) == 1
