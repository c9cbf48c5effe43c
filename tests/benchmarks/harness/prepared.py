"""A language model whose answers are prepared, so that the harness' judgement alone is what a test sees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness.catalogue import Catalogue, quiet
from benchmarks.harness.code_eval import sandboxed


def judged_by_the_harness(
    name: str, texts: Sequence[str], *, pocket_folder: Path, include: Sequence[Path] = ()
) -> list[dict[str, Any]]:
    """The harness' samples of a task whose first examples are answered by prepared texts."""
    catalogue = Catalogue([name], include=include, pocket_folder=pocket_folder)
    loaded = catalogue.load(name, unsafe=True)
    with quiet():
        from lm_eval import evaluator
        from lm_eval.api.model import LM

    class Prepared(LM):
        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
            return list(texts)

        def loglikelihood(self, requests: Any) -> Any:
            raise NotImplementedError

        loglikelihood_rolling = loglikelihood

    for task in loaded["tasks"].values():
        task.set_fewshot_seed(0)
    with quiet(), sandboxed():
        results = evaluator.evaluate(
            lm=Prepared(), task_dict=loaded, limit=len(texts), bootstrap_iters=0, confirm_run_unsafe_code=True
        )
    samples: list[dict[str, Any]] = results["samples"][name]
    return samples
