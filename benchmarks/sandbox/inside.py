"""The sandboxed side: closes every door behind itself, then calls the function it was given.

This file is not imported but handed as text to a fresh interpreter that already stands in new user, mount, process,
network and IPC namespaces. What follows, in this order: import what programs may import, read the request, replace
the file system by an empty one of a megabyte, give up all capabilities for good, set limits, and only then run the
program. Nothing of the old file system is left to open, so modules that were not imported before do not exist.
"""

import contextlib
import ctypes
import importlib
import json
import os
import resource
import signal
import sys
from typing import Any

# What short programs import; with them come what they import themselves.
MODULES = """
abc base64 bisect calendar cmath collections collections.abc copy dataclasses datetime decimal enum fractions functools
hashlib heapq itertools json math numbers operator random re socket statistics string textwrap types typing _strptime
encodings.utf_8 encodings.ascii encodings.latin_1
"""

_MS_REC_PRIVATE, _MS_NOSUID_NODEV = 0x4000 | 0x40000, 2 | 4
_MNT_DETACH, _PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP, _PR_SET_DUMPABLE, _PR_SET_PDEATHSIG = 2, 38, 24, 4, 1
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CAPABILITIES, _NOBODY = 64, 65534
_BUILT_IN = (int, float, str, bool, type(None), bytes)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def empty_root(libc: ctypes.CDLL, megabytes: int) -> None:
    """Make an empty file system in memory the root, and let go of the old one."""
    _checked(libc.mount(None, b"/", None, _MS_REC_PRIVATE, None), "mount private")
    size = f"size={megabytes}m,nr_inodes=64,mode=777".encode()
    _checked(libc.mount(b"none", b"/tmp", b"tmpfs", _MS_NOSUID_NODEV, size), "mount tmpfs")
    os.mkdir("/tmp/old")
    _checked(libc.syscall(_PIVOT_ROOT[os.uname().machine], b"/tmp", b"/tmp/old"), "pivot_root")
    os.chdir("/")
    _checked(libc.umount2(b"/old", _MNT_DETACH), "umount")
    os.rmdir("/old")


def give_up_capabilities(libc: ctypes.CDLL, *, root: bool) -> None:
    """Drop every capability, in this process and in whatever it might execute; the real root becomes nobody."""
    for number in range(_CAPABILITIES):
        libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)  # numbers beyond the kernel's last are refused
    if root:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    _checked(libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    _checked(libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "not dumpable")
    # The kernel forgets this when credentials change. It is for the case that the caller itself is killed.
    _checked(libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "die with the parent")


def set_limits(limits: dict[str, Any]) -> None:
    """Set what the process may use: processor time, memory, processes (none beside itself), files."""
    seconds, memory = limits["cpu_seconds"], limits["memory_mb"] * 2**20
    for kind, value in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_NPROC, 1),
        (resource.RLIMIT_FSIZE, limits["files_mb"] * 2**20),
        (resource.RLIMIT_NOFILE, 16),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(kind, (value, value))


def literal(value: Any, depth: int = 0) -> str:
    """Return a built-in value as a literal.

    Raises:
        TypeError: If it is anything else, or holds anything else, or is nested too deeply.
    """
    if type(value) in _BUILT_IN:
        return repr(value)
    if depth < 20 and type(value) in (list, tuple, set, dict):
        items = value.items() if type(value) is dict else value
        parts = [literal(item, depth + 1) for item in items]
        return f"{type(value).__name__}([{', '.join(parts)}])"
    raise TypeError(f"a {type(value).__name__} is not a plain value")


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Run the program and make the calls."""
    space: dict[str, Any] = {"__name__": "program"}
    try:
        exec(compile(request["source"], "program", "exec"), space)
        function = space[request["function"]]
        return {"values": [literal(function(*arguments)) for arguments in request["calls"]]}
    except BaseException as error:
        return {"error": f"{type(error).__name__}: {error}"[:500]}


def main() -> None:
    """Isolate, run, answer."""
    for name in MODULES.split():
        importlib.import_module(name)
    request = json.loads(sys.stdin.buffer.read())
    os.setsid()
    os.environ.clear()  # of what the interpreter itself has set
    # The answer goes where the program does not look for it; what it prints goes nowhere.
    answer = os.dup(1)
    nowhere = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    libc = ctypes.CDLL(None, use_errno=True)
    empty_root(libc, request["limits"]["files_mb"])
    give_up_capabilities(libc, root=request["root"])
    set_limits(request["limits"])
    # Before anything the program may have done to these names.
    write, dumps, leave = os.write, json.dumps, os._exit
    write(answer, b"isolated\n")
    result = run(request)
    with contextlib.suppress(BaseException):
        data = dumps(result).encode()
        while data:
            data = data[write(answer, data) :]
    leave(0)


if __name__ == "__main__":
    main()
