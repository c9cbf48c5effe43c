from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.sandbox import Limits, SandboxError, check_isolation, run_calls, runner


@pytest.fixture(autouse=True, scope="module")
def isolation() -> None:
    try:
        check_isolation()
    except SandboxError as error:
        pytest.skip(str(error))


def body(text: str) -> str:
    return "def f(*args):\n" + "".join(f"    {line}\n" for line in text.splitlines())


def test_values_come_back_as_they_were() -> None:
    source = "import math\nfrom collections import Counter\n\ndef f(x):\n    return x\n"
    values = [1, -2.5, "a'b", True, None, [1, [2, []]], 10**30]
    assert run_calls(source, "f", [[value] for value in values]).values == tuple(values)
    made = body("return ((1, 'a'), {2, 3}, {'k': (4,)}, b'x', float('inf'), -float('inf'), set(), ())")
    assert run_calls(made, "f", [[]]).values == (
        ((1, "a"), {2, 3}, {"k": (4,)}, b"x", float("inf"), -float("inf"), set(), ()),
    )


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("def g():\n    return 1", "KeyError: 'f'"),
        ("def f(:", "SyntaxError"),
        (body("return 1 / 0"), "ZeroDivisionError"),
        (body("return object()"), "TypeError: a object is not a plain value"),
        (body("raise SystemExit"), "SystemExit"),
        (body("x = []\nx.append(x)\nreturn x"), "TypeError"),
    ],
)
def test_a_program_that_fails_says_why(source: str, error: str) -> None:
    outcome = run_calls(source, "f", [[]])
    assert outcome.values is None
    assert outcome.error is not None
    assert outcome.error.startswith(error)


def test_one_failing_call_fails_the_program() -> None:
    assert run_calls(body("return 1 / args[0]"), "f", [[1], [0]]).values is None


# What each hostile program tries, and what must then not have come back.
HOSTILE: dict[str, str] = {
    "fork bomb": "import os\nwhile True:\n    os.fork()",
    "thread bomb": "import threading, time\nwhile True:\n    threading.Thread(target=time.sleep, args=(99,)).start()",
    "socket": "import socket\nreturn socket.create_connection(('127.0.0.1', {port}), timeout=1).recv(9).decode()",
    "home folder": "import os\nreturn os.listdir({home!r})",
    "a file of ours": "return open({file!r}).read()",
    "another process": "return open('/proc/1/environ', 'rb').read()",
    "endless output": "import os\nwhile True:\n    for number in range(16):\n        try:\n            os.write(number, b'x' * 4096)\n        except OSError:\n            pass",  # noqa: E501
    "endless answer": "return 'x' * 10**7",
    "memory hog": "return len([bytes(10**6) for _ in range(10**6)])",
    "disk hog": "with open('/big', 'wb') as file:\n    while True:\n        file.write(bytes(10**6))",
    "many files": "n = 0\nwhile True:\n    open(f'/{{n}}', 'w').close()\n    n += 1",
    "endless loop": "while True:\n    pass",
    "endless sleep": "import time\ntime.sleep(1000)",
    "signal to the parent": "import os, signal\nos.kill({parent}, signal.SIGKILL)\nreturn 1",
    "signal to all": "import os, signal\nos.kill(-1, signal.SIGKILL)\nos.killpg(0, signal.SIGKILL)",
    "another program": "import subprocess\nreturn subprocess.run(['/bin/ls'], capture_output=True).stdout.decode()",
    "becoming root": "import os\nos.setuid(0)\nreturn 1",
    "living on": "import ctypes, time\nctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\ntime.sleep(1000)",
    "ending at once": "import os\nos._exit(0)",
    "a forged answer": "import os, json\nos.write(3, json.dumps({{'values': ['42']}}).encode())\nos._exit(0)",
    "an answer of no meaning": 'import os\nos.write(3, b\'{{"values": ["list()"]}}\')\nos._exit(0)',
    "an answer of many lists": 'import os\nos.write(3, b\'{{"values": ["list([], [])"]}}\')\nos._exit(0)',
    "too many answers": 'import os\nos.write(3, b\'{{"values": ["1", "2"]}}\')\nos._exit(0)',
    "new names for the harness": 'import json, os\njson.dumps = lambda *_: \'{{"values": ["1"]}}\'\nraise ValueError',
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_hostile_programs_get_nowhere(name: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    with serving() as port:
        text = HOSTILE[name].format(port=port, home=str(Path.home()), file=str(secret), parent=os.getpid())
        started = time.monotonic()
        outcome = run_calls(body(text), "f", [[]], limits=Limits(seconds=1.0))
    # A forged answer is taken for one; it holds nothing the program did not know, and is compared like any other.
    expected: Any = (42,) if name == "a forged answer" else None
    assert outcome.values == expected
    assert time.monotonic() - started < 8
    assert outcome.error or expected
    assert run_calls(body("return 1"), "f", [[]]).values == (1,)


def test_nothing_is_left_running() -> None:
    before = our_children()
    for name in ("fork bomb", "endless sleep", "living on"):
        run_calls(body(HOSTILE[name]), "f", [[]], limits=Limits(seconds=0.5))
    assert our_children() == before


def test_programs_see_neither_arguments_nor_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_OF_OURS", "secret")
    source = body("import os, sys\nreturn [dict(os.environ), sys.argv, os.getcwd(), os.listdir('/'), os.getpid()]")
    assert run_calls(source, "f", [[]]).values == ([{}, ["-c"], "/", [], 1],)


def test_where_nothing_can_be_isolated_nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check_isolation.cache_clear()
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SandboxError, match="need Linux and util-linux's unshare"):
        run_calls(body("return 1"), "f", [[]])
    # A stand-in that isolates nothing is found out.
    fake = tmp_path / "unshare"
    fake.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\n"$@"\nexit $?\n')
    fake.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(fake))
    monkeypatch.setattr(runner, "_inside", lambda: _without_isolation())
    with pytest.raises(SandboxError, match=r"one could reach: .*parent's process"):
        run_calls(body("return 1"), "f", [[]])
    monkeypatch.undo()
    check_isolation.cache_clear()


def _without_isolation() -> str:
    text = Path(runner.__file__).with_name("inside.py").read_text()
    for name in ("empty_root(libc", "give_up_capabilities(libc", "set_limits(request", "os.setsid("):
        text = text.replace(f"\n    {name}", f"\n    0 and {name}")
    return text


class serving:  # noqa: N801
    """A server on this machine that tells a secret to whoever connects."""

    def __enter__(self) -> int:
        code = (
            "import socket\ns = socket.create_server(('127.0.0.1', 0))\nprint(s.getsockname()[1], flush=True)\n"
            "while True:\n    c, _ = s.accept()\n    c.send(b'secret')\n    c.close()\n"
        )
        self._process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def our_children() -> set[str]:
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return {line for line in listed.splitlines() if "The sandboxed side" in line}
