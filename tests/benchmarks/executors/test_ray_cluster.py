"""What is refused of a cluster without Ray having to run; with it, see tests/end_to_end/test_executors.py."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.errors import UsageError
from benchmarks.executors.ray_cluster import _check_answers, places


def test_an_address_that_does_not_answer_is_refused_at_once() -> None:
    with socket.socket() as bound:  # and does not listen
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        with pytest.raises(UsageError, match=f"--ray-address: 127.0.0.1:{port} cannot be reached: .*refused"):
            _check_answers(f"127.0.0.1:{port}")
        bound.listen()
        _check_answers(f"127.0.0.1:{port}")


@pytest.mark.parametrize("address", ["head", "head:", ":6379", "head:port", "ray://head:10001"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match=r"--ray-address: found .*; expected HOST:PORT"):
        _check_answers(address)


def test_a_cluster_has_a_place_for_every_gpu_or_for_so_many_cores() -> None:
    def node(alive: bool, **resources: float) -> dict[str, Any]:
        return {"Alive": alive, "Resources": resources}

    nodes = [node(True, CPU=64.0, GPU=8.0), node(True, CPU=7.0), node(False, CPU=64.0, GPU=8.0)]
    ray = SimpleNamespace(nodes=lambda: nodes)
    assert places(ray, device="cuda", threads=4) == 8
    assert places(ray, device="cpu", threads=4) == 16 + 1
