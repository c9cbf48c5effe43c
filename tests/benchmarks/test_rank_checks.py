from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.errors import UsageError
from benchmarks.models import SHIPPED
from benchmarks.rank_checks import check_ranks
from tests.benchmarks.test_spec import SPEC

FOLDERS = {"pocket-llama": SHIPPED / "pocket-llama", "pictures": SHIPPED / "pocket-sdxl"}
RUN = replace(SPEC, model="pocket-llama", batch_size=4, micro_batch_size=2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"micro_batch_size": 4}, "--micro-batch-size: a step of pocket-math has 1 micro-batches of 4, which 2 ranks"),
        ({"device_map": "auto"}, "--device-map: a model spread over all GPUs leaves none for other ranks"),
        ({"task": "pocket-icons", "model": "pictures"}, "--tasks: pocket-icons draws its noise batch by batch"),
        ({"task": "dreambooth-own", "model": "pictures"}, "--tasks: dreambooth-own draws its noise batch by batch"),
    ],
)
def test_what_ranks_cannot_share_is_refused_and_one_rank_may_do(
    changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders: dict[str, Path] = FOLDERS
    check_ranks([replace(RUN, **changes)], folders)
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_ranks([RUN], folders)
    with pytest.raises(UsageError, match=message):
        check_ranks([RUN, replace(RUN, **changes)], folders)
