"""A Ray cluster: reaching it, what it has, and whether its nodes see the folders that runs need."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.errors import UsageError, first_line
from benchmarks.executors.ray_actor import unseen

#: Seconds in which a cluster's address must answer.
ANSWER_WITHIN = 10.0
#: Seconds in which every node must say what it sees.
LOOK_WITHIN = 120.0


def check_installed() -> None:
    """Refuse where Ray is not installed.

    Raises:
        UsageError: Naming the extra.
    """
    if find_spec("ray") is None:
        raise UsageError("--executor: ray is not installed; pip install 'bilora[ray]', or take --executor local")


def connect(address: str | None) -> Any:
    """Join a cluster, or start one of this machine if none is named and none runs here; returns the module `ray`.

    Raises:
        UsageError: If Ray is not installed, or the address cannot be reached.
    """
    check_installed()
    import ray

    at_term = signal.getsignal(signal.SIGTERM)
    try:
        _join(ray, address)
    finally:
        # Ray takes SIGTERM for itself; here it is an interruption, after which the store is left clean.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, at_term)
    return ray


def _join(ray: Any, address: str | None) -> None:
    wanted = address or os.environ.get("RAY_ADDRESS") or "auto"
    _check_answers(wanted)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "warning"}
    try:
        ray.init(address=wanted, **quiet)
    except ConnectionError as error:
        if wanted != "auto":
            raise UsageError(f"--ray-address: {wanted} cannot be reached: {first_line(error)[:200]}") from None
        ray.init(include_dashboard=False, **quiet)
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"--ray-address: {wanted} cannot be joined: {first_line(error)[:200]}") from None


def _check_answers(address: str) -> None:
    """Refuse an address at which nothing answers, for which Ray itself would wait minutes."""
    if address in ("auto", "local"):
        return
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdecimal()) or "/" in host:
        raise UsageError(
            f"--ray-address: found {address!r}; expected HOST:PORT of the head, as in 10.0.0.1:6379 (the command "
            "itself runs on a node of the cluster)"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_WITHIN).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"--ray-address: {address} cannot be reached: {first_line(error)[:200]}; is the cluster up (ray status), "
            "and its port open to this machine?"
        ) from None


def places(ray: Any, *, device: str, threads: int) -> int:
    """Return how many runs the cluster can have at work: one for each GPU, or for every so many cores."""
    resource, each = ("GPU", 1) if device == "cuda" else ("CPU", threads)
    return sum(int(node["Resources"].get(resource, 0) // each) for node in ray.nodes() if node["Alive"])


def check_folders(ray: Any, *, device: str, token: Path, content: str, folders: Sequence[Path]) -> None:
    """Have every node that could take a run look for the driver's folders.

    Args:
        ray: The module, connected.
        device: "cpu" or "cuda".
        token: A file that the driver has written into the output folder.
        content: What stands in it.
        folders: Of the base models.

    Raises:
        UsageError: Naming the folder and the node that does not see it.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    resource = "GPU" if device == "cuda" else "CPU"
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get(resource, 0) >= 1]
    look = ray.remote(unseen)
    asked = {}
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False)
        asked[node["NodeID"]] = look.options(num_cpus=0, scheduling_strategy=there).remote(token, content, folders)
    for node in nodes:
        try:
            missing = ray.get(asked[node["NodeID"]], timeout=LOOK_WITHIN)
        except ray.exceptions.RayTaskError as error:
            raise UsageError(
                f"--executor: node {node['NodeManagerAddress']} cannot run this project: {_last_line(error)}; install "
                "the same version there"
            ) from None
        except ray.exceptions.RayError:
            continue  # a node that is lost is none that takes a run
        if missing:
            flag = "--out" if str(token.parent) in missing else "--model"
            raise UsageError(
                f"{flag}: {missing[0]} is not what node {node['NodeManagerAddress']} sees there; expected a folder "
                "that all nodes share under the same path"
            )


def _last_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[-1][:200]
