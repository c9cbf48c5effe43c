"""A program that tries to get out of the sandbox; run once before any other, see `check_isolation`."""

import os
import socket


def ways_out(a_file: str, home: str, parent: int) -> list[str]:
    """Return what could be reached, in words; nothing if the sandbox holds.

    Args:
        a_file: A file that exists outside.
        home: The home folder of who started the sandbox.
        parent: Its process.
    """
    found = [path for path in (a_file, home, "/etc/passwd", "/proc/self/environ") if os.path.exists(path)]
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
            connection.connect(("192.0.2.1", 9))
        found.append("the network")
    except OSError:
        pass
    try:
        os.kill(parent, 0)
        found.append("its parent's process")
    except OSError:
        pass
    try:
        if os.fork() == 0:
            os._exit(0)
        found.append("new processes")
    except OSError:
        pass
    if os.environ:
        found.append("environment variables")
    return found
