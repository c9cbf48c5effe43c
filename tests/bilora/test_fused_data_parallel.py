from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import multiprocessing
from torch.nn.parallel import DistributedDataParallel

from bilora import compiled
from bilora.adapters import AdapterPair
from bilora.compiled import compile_layers
from bilora.fused import fuse_adapters
from tests.tiny import as_batch, examples, lora_config, moved_off_zero, tiny_llama

# Ten examples hide their first 1 to 5 tokens, twice over: the halves have equally many labels, so that the mean over
# ranks is the mean over tokens.
ROWS = examples(10)


def two_adapters() -> PeftModel:
    torch.manual_seed(3)
    model = get_peft_model(tiny_llama(), lora_config())
    AdapterPair(model)
    moved_off_zero(model)
    model.config.use_cache = False
    return model.train()


def gradients(model: torch.nn.Module, rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    model(**as_batch(rows)).loss.backward()
    return {n.removeprefix("module."): p.grad for n, p in model.named_parameters() if p.grad is not None}


def _one_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    compiled.BACKEND = "aot_eager"
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    for name in ("fused", "compiled"):
        model = two_adapters()
        assert fuse_adapters(model) == 14
        if name == "compiled":
            assert compile_layers(model) == 2
        found = gradients(DistributedDataParallel(model), ROWS[5 * rank : 5 * rank + 5])
        torch.save(found, f"{folder}/{name}-{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_get_the_gradients_of_peft_on_the_whole_batch(tmp_path: Path) -> None:
    multiprocessing.spawn(_one_rank, args=(str(tmp_path),), nprocs=2)
    expected = gradients(two_adapters(), ROWS)
    assert len(expected) == 56
    for name in ("fused-0", "fused-1", "compiled-0", "compiled-1"):
        found = torch.load(tmp_path / f"{name}.pt")
        assert found.keys() == expected.keys()
        for parameter, gradient in expected.items():
            assert (found[parameter] - gradient).norm() <= 2e-5 * gradient.norm(), (name, parameter)
