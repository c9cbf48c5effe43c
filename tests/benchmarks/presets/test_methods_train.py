"""One step of every method of every preset, with its options, on a tiny random model of the preset's architecture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.architecture import Architecture, Row
from benchmarks.loading import LoadOptions, load_options, open_model
from benchmarks.plan import plan_runs
from benchmarks.presets import canonical_names
from benchmarks.request import read_request
from benchmarks.spec import RunSpec
from benchmarks.tasks import create_task
from benchmarks.training import train
from bilora.factors import PRIMARY
from tests.models import save_tiny_model, save_tiny_qwen2, save_tiny_t5

#: The base of a preset -> what stands for it.
STANDS_FOR = {
    "google-t5/t5-base": save_tiny_t5,
    "meta-llama/Llama-2-7b-hf": save_tiny_model,
    "meta-llama/Llama-3.1-8B": save_tiny_model,
    "Qwen/Qwen2.5-14B": save_tiny_qwen2,
}
# Options and combinations are checked by every plan (test_dry_run); that they also train takes a minute.
pytestmark = pytest.mark.slow
_DONE: set[str] = set()


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {name: save(folder / name.replace("/", "-")) for name, save in STANDS_FOR.items()}


def specs_of(name: str, base: str) -> list[RunSpec]:
    """One step of four examples, in passes of as many as the preset's share of its batch; pocket data."""
    found = []
    for comparison in read_request(["--preset", name]).comparisons:
        for task in comparison.settings.tasks:
            for method in comparison.settings.methods:
                own = comparison.settings_of(task, method)
                accumulates = own.micro_batch_size not in (None, own.batch_size)
                own = replace(own, model=base, tasks=("pocket-math",), steps=1, seeds=1, device="cpu", measure=False)
                own = replace(own, target_modules=("all-linear",), dtype="float32")
                own = replace(
                    own,
                    batch_size=4,
                    micro_batch_size=2 if accumulates else 4,
                    evaluations=0,
                    dynamics=None,
                    warmup=0.0,
                )
                found += plan_runs(own)[0]
    return found


def one_step(spec: RunSpec, model: Any, architecture: Architecture, rows: Sequence[Row], folder: Path) -> None:
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trained = train(
        spec,
        model,
        architecture=architecture,
        train_rows=rows,
        validation_rows=rows,
        folder=folder,
        update=lambda fraction, note: None,
    )
    record = next(record for record in trained.history if "grad_norm" in record)
    assert record["step"] == 1
    assert record["grad_norm"] > 0
    now = {name: p for name, p in trained.model.named_parameters() if p.requires_grad}
    if trained.method.trains_all_weights:
        assert any(not torch.equal(before[name], p) for name, p in now.items())
    else:
        # B starts at zero, where the variant has no start of its own.
        assert all(bool(p.detach().any()) for name, p in now.items() if "_B." in name and PRIMARY in name)
    assert all(bool(torch.isfinite(p).all()) for p in now.values())


@pytest.mark.parametrize("name", [name for name in canonical_names() if "sdxl" not in name])
def test_every_method_and_option_of_a_preset_takes_a_step(name: str, bases: dict[str, Path], tmp_path: Path) -> None:
    base = read_request(["--preset", name]).comparisons[0].settings.model
    assert base is not None
    task = create_task("pocket-math")
    for index, spec in enumerate(specs_of(name, str(bases[base]))):
        # Presets share most of their runs; each different one takes its step once.
        what = (
            spec.variant,
            spec.method,
            spec.quantize,
            spec.options,
            spec.rank,
            spec.batch_size // spec.micro_batch_size,
        )
        identity = json.dumps([STANDS_FOR[base].__name__, *what])
        if identity in _DONE:
            continue
        _DONE.add(identity)
        model, architecture = open_model(
            bases[base], device=torch.device("cpu"), options=LoadOptions(quantize=spec.quantize)
        )
        rows = architecture.rows(task, task.examples("train")[:4])
        one_step(spec, model, architecture, rows, tmp_path / str(index))


def test_every_method_and_option_of_the_sdxl_preset_takes_a_step(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    from tests.tiny_sdxl import save_pictures, save_sdxl

    base, pictures = save_sdxl(tmp_path / "sdxl"), save_pictures(tmp_path / "pictures")
    comparison = read_request(["--preset", "table3-sdxl-icons"]).comparisons[0]
    task = create_task("dreambooth-3d-icons", data=pictures)
    for method in comparison.settings.methods:
        own = replace(comparison.settings_of(task.name, method), model=str(base), data=pictures, device="cpu")
        own = replace(own, steps=1, seeds=1, evaluations=0, resolution=16)
        (spec,), _ = plan_runs(own)
        assert (spec.schedule, spec.dtype, spec.batch_size, spec.micro_batch_size) == ("constant", "bfloat16", 4, 1)
        model, architecture = open_model(base, device=torch.device("cpu"), options=load_options(spec, labels=0))
        rows = architecture.rows(task, task.examples("train"))
        one_step(spec, model, architecture, rows, tmp_path / method)
