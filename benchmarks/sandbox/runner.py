"""Runs functions that a model has written where they can do no harm, and brings back what they return.

Each program gets a fresh interpreter in Linux namespaces of its own: no network, no other process, an empty private
file system of a megabyte in place of ours, none of our environment, no capability, and limits on time, memory,
processes, files and output (`benchmarks.sandbox.inside`). Needs util-linux's `unshare` and user namespaces, not root;
started by root, a program runs as nobody. Expected values never enter: the program is called, and the caller compares
what comes back, so that a program cannot claim to have passed. Where isolation cannot be had nothing is run.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.sandbox.literals import value_of
from benchmarks.sandbox.process import Running, SandboxError, deadline

_READY = b"isolated\n"
# Starting an interpreter takes a tenth of this on an idle machine.
_START_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one program may use.

    Attributes:
        seconds: Wall-clock time of all calls together.
        memory_mb: Address space, 2^20 bytes.
        files_mb: Its private file system.
        output_bytes: What it returns, written out.
    """

    seconds: float = 2.0
    memory_mb: int = 256
    files_mb: int = 1
    output_bytes: int = 65536


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a program.

    Attributes:
        values: What each call returned; None if the program failed in any of them.
        error: Why it failed.
    """

    values: tuple[Any, ...] | None = None
    error: str | None = None


def run_calls(source: str, function: str, calls: Sequence[Sequence[Any]], *, limits: Limits | None = None) -> Outcome:
    """Run a program in isolation and call a function it defines.

    Args:
        source: Python code.
        function: Name of the function.
        calls: Arguments of each call, as JSON knows them: numbers, strings, booleans, None and lists.
        limits: None for `Limits()`.

    Returns:
        The values, which are built from numbers, strings, booleans, None, bytes, lists, tuples, sets and dictionaries;
        or the error.

    Raises:
        SandboxError: If this machine cannot isolate programs.
    """
    check_isolation()
    return _run(source, function, calls, Limits() if limits is None else limits)


@cache
def check_isolation() -> None:
    """Make sure that a program is isolated here, by one that tries to get out; once for each process.

    Raises:
        SandboxError: With the reason, if it is not.
    """
    probe = Path(__file__).with_name("probe.py").read_text(encoding="utf-8")
    outcome = _run(probe, "ways_out", [[os.path.realpath(__file__), str(Path.home()), os.getpid()]], Limits())
    if outcome.values is None:
        raise SandboxError(f"programs cannot be isolated here: {outcome.error}")
    (ways,) = outcome.values
    if ways:
        raise SandboxError(f"programs are not isolated here, one could reach: {', '.join(map(str, ways))}")


def _run(source: str, function: str, calls: Sequence[Sequence[Any]], limits: Limits) -> Outcome:
    unshare = shutil.which("unshare")
    if not sys.platform.startswith("linux") or unshare is None:
        raise SandboxError(
            "model-written programs run only in Linux namespaces, which need Linux and util-linux's unshare; "
            "leave out tasks that run code here"
        )
    # The real root needs no namespace of users, and a limit on processes would not bind it there: it becomes nobody
    # once everything else is done.
    root = os.geteuid() == 0
    users = [] if root else ["--user", "--map-root-user"]
    command = [unshare, *users, "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child=KILL", "--"]
    command += [os.path.realpath(sys.executable), "-I", "-S", "-c", _inside()]
    request = {"source": source, "function": function, "calls": [list(c) for c in calls], "root": root}
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={},
        cwd="/",
        start_new_session=True,
    )
    cpu_seconds = int(limits.seconds) + 1
    data = json.dumps(request | {"limits": asdict(limits) | {"cpu_seconds": cpu_seconds}}).encode()
    running = Running(process)
    try:
        return _answer(running, data, limits, calls=len(calls))
    finally:
        running.kill()
        running.close()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def _answer(running: Running, data: bytes, limits: Limits, *, calls: int) -> Outcome:
    """Hand the request over and read the answer, but no more of it than allowed and no longer."""
    process = running.process
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with deadline(running, _START_SECONDS) as late:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(data)
            process.stdin.close()
        ready = process.stdout.read(len(_READY))
    if ready != _READY:
        reason = "it did not start in time" if late.is_set() else _last_line(process.stderr.read(10_000))
        raise SandboxError(
            f"programs cannot be isolated here: {reason}; this needs namespaces (in a container, allow them), or "
            "leave out tasks that run code"
        )
    running.note_program()
    with deadline(running, limits.seconds) as late:
        answer = process.stdout.read(limits.output_bytes + 1)
    if late.is_set():
        return Outcome(error=f"took longer than {limits.seconds:g} s")
    if len(answer) > limits.output_bytes:
        return Outcome(error=f"returned more than {limits.output_bytes} bytes")
    try:
        found = json.loads(answer)
        if "values" not in found:
            return Outcome(error=str(found["error"]))
        values = tuple(value_of(text) for text in found["values"])
    except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError):
        return Outcome(error="ended without an answer")
    # The program can write an answer itself; one for other calls is none.
    return Outcome(values=values) if len(values) == calls else Outcome(error="ended without an answer")


def _last_line(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it ended at once"


@cache
def _inside() -> str:
    return Path(__file__).with_name("inside.py").read_text(encoding="utf-8")
