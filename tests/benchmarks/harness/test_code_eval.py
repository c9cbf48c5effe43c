from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import evaluate
import lm_eval.tasks
import pytest

from benchmarks.errors import UsageError
from benchmarks.harness import code_eval
from benchmarks.harness.code_eval import SandboxedCodeEval, pass_at_k, run_tests, runs_in_the_sandbox, sandboxed
from benchmarks.sandbox import SandboxError, check_isolation
from tests.benchmarks.harness.prepared import judged_by_the_harness
from tests.benchmarks.harness.yaml_tasks import save_yaml_task

TESTS = "assert add(2, 3) == 5"
RIGHT, WRONG = "def add(a, b):\n    return a + b", "def add(a, b):\n    return a * b"


@pytest.fixture(autouse=True, scope="module")
def isolation() -> None:
    try:
        check_isolation()
    except SandboxError as error:
        pytest.skip(str(error))


def test_the_first_call_of_every_stock_task_is_answered_as_by_the_original() -> None:
    """What lm-eval's HumanEval and MBPP try when they are loaded, and what they read of the answer."""
    scores, results = SandboxedCodeEval().compute(references=[TESTS], predictions=[[WRONG, RIGHT]], k=[1, 2, 10])
    assert scores == {"pass@1": 0.5, "pass@2": 1.0}
    assert [(number, record["passed"]) for number, record in results[0]] == [(0, False), (1, True)]
    assert results[0][0][1]["result"] == "failed: AssertionError: "


@pytest.mark.parametrize(("total", "correct", "k"), [(5, 2, 1), (5, 2, 3), (4, 0, 2), (4, 4, 2), (6, 1, 6)])
def test_pass_at_k_is_the_share_of_draws_with_a_correct_one(total: int, correct: int, k: int) -> None:
    draws = list(itertools.combinations([True] * correct + [False] * (total - correct), k))
    assert pass_at_k(total, correct, k) == pytest.approx(sum(any(draw) for draw in draws) / len(draws))


@pytest.mark.parametrize(
    "attempt",
    [
        "raise SystemExit(0)",
        "import os\nos._exit(0)",
        "while True:\n    pass",
        "import sys\nsys.exit()",
        "quit()",
        "import builtins\nbuiltins.AssertionError = None\nraise KeyboardInterrupt",
        "x = 'a' * 10**12",
    ],
)
def test_a_program_that_ends_before_its_tests_has_not_passed(attempt: str) -> None:
    assert run_tests(f"{attempt}\n{TESTS}\n", seconds=1.0) is not None


def test_a_hostile_program_reaches_nothing(tmp_path: Path) -> None:
    """It would pass by writing a file, by reading one, by a process or the network: all of that fails."""
    secret = tmp_path / "secret"
    secret.write_text("x")
    source = f"""
import os, socket
found = []
for attempt in (
    lambda: open({str(tmp_path / "written")!r}, "w"),
    lambda: open({str(secret)!r}).read(),
    lambda: open("/etc/passwd").read(),
    lambda: os.fork(),
    lambda: os.execv("/bin/true", ["true"]),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("192.0.2.1", 9)),
):
    try:
        attempt()
        found.append(attempt)
    except OSError:
        pass
"""
    assert run_tests(f"{source}\nassert not found\nassert not os.environ\n") is None
    assert not (tmp_path / "written").exists()


def test_tasks_are_given_the_sandboxed_one_by_name() -> None:
    original = evaluate.load
    with sandboxed():
        assert isinstance(evaluate.load("code_eval"), SandboxedCodeEval)
    assert evaluate.load is original


def test_without_a_sandbox_such_a_task_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise SandboxError("no namespaces")

    monkeypatch.setattr(code_eval, "check_isolation", none)
    with sandboxed(), pytest.raises(UsageError, match="no namespaces"):
        evaluate.load("code_eval")


def test_a_task_that_executes_by_itself_is_told_apart() -> None:
    spaces = {"ours": {"compute_": SandboxedCodeEval()}, "its own": {"compute_": eval}}
    found = {}
    for name, space in spaces.items():
        exec("def metric(): ...", space)
        config = SimpleNamespace(process_results=None, metric_list=[{"metric": space["metric"]}])
        found[name] = runs_in_the_sandbox(SimpleNamespace(_metric_fn_list={}, config=config))
    assert found == {"ours": True, "its own": False}
    by_name = SimpleNamespace(process_results=None, metric_list=[{"metric": "code_eval"}])
    task = SimpleNamespace(_metric_fn_list={"code_eval": SandboxedCodeEval().compute}, config=by_name)
    assert runs_in_the_sandbox(task)


def test_the_harness_own_humaneval_runs_here_on_local_problems(tmp_path: Path) -> None:
    """Its YAML and its functions as they are, with data of ours and answers that do harm among them."""
    stock = Path(lm_eval.tasks.__file__).parent / "humaneval" / "humaneval.yaml"
    prompt = "def add(a, b):\n"
    test = "def check(candidate):\n    assert candidate(2, 3) == 5\n"
    answers = {
        "    return a + b\n": 1.0,
        "    return a * b\n": 0.0,
        f"    open({str(tmp_path / 'written')!r}, 'w')\n    return a + b\n": 0.0,
        f"    import os\n    os.system('touch {tmp_path / 'written'}')\n    os._exit(0)\n": 0.0,
        "    import os\n    return a + b if not os.environ else 0\n": 1.0,
        "    return a +\n": 0.0,
    }
    rows = [{"task_id": i, "prompt": prompt, "test": test, "entry_point": "add"} for i in range(len(answers))]
    folder = save_yaml_task(tmp_path / "own", "own-humaneval", rows, include=str(stock))
    samples = judged_by_the_harness("own-humaneval", list(answers), pocket_folder=tmp_path, include=[folder])
    assert [sample["pass@1"] for sample in samples] == list(answers.values())
    assert not (tmp_path / "written").exists()
