from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from bilora import MethodError
from bilora.trainer_ranks import refuse_launch, refuse_wrapped
from tests.tiny import attached


@pytest.mark.parametrize(
    ("changes", "compiled", "message"),
    [
        ({"deepspeed": "zero.json"}, "auto", "deepspeed: ZeRO keeps"),
        ({"fsdp": True, "fsdp_plugin_args": {"fsdp_version": 1}}, "auto", "fsdp: version 1"),
        ({"fsdp": True, "fsdp_config": {"version": 1}}, "auto", "fsdp: version 1"),
        ({"fsdp": True, "fsdp_config": {"version": 2}}, True, "compile_layers: "),
    ],
)
def test_what_methods_cannot_follow_is_refused(changes: dict[str, Any], compiled: Any, message: str) -> None:
    args = SimpleNamespace(**{"deepspeed": None, "fsdp": None, "fsdp_config": None, **changes})
    with pytest.raises(ValueError, match=message):
        refuse_launch(args, compile_layers=compiled)


def test_ddp_and_fsdp2_pass() -> None:
    for changes in ({}, {"fsdp": True, "fsdp_config": {"version": 2}}):
        args = SimpleNamespace(**{"deepspeed": None, "fsdp": None, "fsdp_config": None, **changes})
        refuse_launch(args, compile_layers="auto")


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("alone")
@pytest.mark.filterwarnings("ignore:.*:FutureWarning")
def test_a_second_pass_may_not_overwrite_the_first_ones_gradients() -> None:
    for name, views, refused in (("lora-sam", True, True), ("lora-sam", False, False), ("bilora", True, False)):
        model, method = attached(name)
        wrapped = DistributedDataParallel(model, gradient_as_bucket_view=views)
        if not refused:
            refuse_wrapped(method, wrapped)
            continue
        with pytest.raises(MethodError, match="gradient_as_bucket_view"):
            refuse_wrapped(method, wrapped)
