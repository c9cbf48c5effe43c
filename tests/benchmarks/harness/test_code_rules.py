from __future__ import annotations

import importlib

import pytest

from benchmarks.harness.code_eval import SandboxedCodeEval, sandboxed
from benchmarks.sandbox import SandboxError, check_isolation


def test_programs_are_prompts_with_completions_and_go_to_the_sandbox() -> None:
    try:
        check_isolation()
    except SandboxError as error:
        pytest.skip(str(error))
    with sandboxed():
        rules = importlib.import_module("benchmarks.harness.code_rules")
    assert isinstance(rules.code_eval, SandboxedCodeEval)
    docs = [{"prompt": "def f():\n"}, {"prompt": "def g():\n"}]
    programs = rules.build_predictions([["    return 1"], ["    return 2", "    return 3"]], docs)
    assert programs == [["def f():\n    return 1"], ["def g():\n    return 2", "def g():\n    return 3"]]
    assert rules.pass_at_k(["assert f() == 1"], programs[:1], k=[1]) == {"pass@1": 1.0}
    assert rules.pass_at_k(["assert g() == 3"], programs[1:], k=[1, 2]) == {"pass@1": 0.5, "pass@2": 1.0}
