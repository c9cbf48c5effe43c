"""The benchmark of large models on a tiny shape: every case leaves its records, and they mean what they say."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import eigsh

from analysis import HessianOperator, Objective, to_scipy
from analysis.operators import compiled_layers
from benchmarks.curvature import large, scaling
from benchmarks.curvature.products import measure_product, workload
from benchmarks.curvature.records import CurvatureRecord, RecordFile
from benchmarks.curvature.shapes import LlamaShape, decoder_weights, random_llama, token_batches

SHAPE = LlamaShape(hidden=16, intermediate=24, layers=2, heads=2, kv_heads=1, vocabulary=32)
FLAGS = [
    *("--hidden", "16", "--intermediate", "24", "--layers", "2", "--heads", "2", "--kv-heads", "1"),
    *("--vocabulary", "32", "--rows", "4", "--tokens", "8", "--micro-rows", "2", "--long-rows", "2"),
    *("--long-tokens", "16", "--repeats", "1", "--device", "cpu"),
]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def traced_only(monkeypatch):
    """Trace compiled layers without generating code, and let nobody write the traces out."""
    monkeypatch.setattr(compiled_layers, "BACKEND", "aot_eager")
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "disabled", True)


# PyTorch's own look at a tensor it traces.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.slow
def test_every_case_leaves_its_records(tmp_path) -> None:
    out = tmp_path / "large.json"
    assert large.main([*FLAGS, "--out", str(out)]) == 0
    content = json.loads(out.read_text())
    records = [CurvatureRecord(**record) for record in content["records"]]
    assert content["environment"]["device"] == "cpu"
    assert not [record for record in records if record.error]
    found = {(record.quantity, record.route) for record in records}
    products = {("product", "reverse"), ("product", "forward"), ("gauss-newton", "gauss-newton"), ("gradient", None)}
    products |= {("product", "compiled"), ("gauss-newton", "gauss-newton-compiled"), ("gradient", "compiled")}
    assert products | {("largest", "reverse"), ("smallest", "compiled")} <= found
    assert {record.parameters for record in records} == {2 * (16 * 16 * 2 + 16 * 8 * 2 + 3 * 16 * 24)}
    assert {record.tokens for record in records if "checkpointed" in record.case} == {2 * 15}
    ends = [record for record in records if record.quantity == "largest" and record.note.startswith("tolerance")]
    assert [record.note.split(",")[0] for record in ends] == [
        "tolerance 0.01", "tolerance 0.001", "tolerance 0.01", "tolerance 0.001", "tolerance 0.01",
    ]  # fmt: skip
    assert all(record.converged and record.seconds > 0 and record.gradient_seconds > 0 for record in ends)
    accuracy = [record for record in records if record.note and record.note.startswith("bfloat16 weights")]
    assert len(accuracy) == 4 * 3
    assert all(record.relative_error < 0.1 for record in accuracy)


def test_the_eigenvalues_of_the_records_are_those_that_scipy_finds_in_float32(tmp_path) -> None:
    out = tmp_path / "ends.json"
    assert (
        large.main([*FLAGS, "--cases", "ends", "--routes", "reverse", "--tolerances", "1e-3", "--out", str(out)]) == 0
    )
    records = json.loads(out.read_text())["records"]
    model = random_llama(SHAPE, device=CPU, dtype=torch.bfloat16).float()
    batches = token_batches(SHAPE, rows=4, tokens=8, micro_rows=2, device=CPU)
    work = workload(model, batches, case="dense", dtype=None)
    with work.space as space:
        exact = to_scipy(HessianOperator(work.objective, space))
        values = {
            quantity: eigsh(exact, k=1, which=end, return_eigenvectors=False, tol=1e-5)[0]
            for quantity, end in (("largest", "LA"), ("smallest", "SA"))
        }
    for quantity, expected in values.items():
        (found,) = [record["value"] for record in records if record["quantity"] == quantity]
        assert found == pytest.approx(expected, rel=0.02)


def test_a_case_that_runs_out_of_memory_says_so_and_the_others_go_on(tmp_path, monkeypatch) -> None:
    def starved(self, vector):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB\nmore")

    model = random_llama(SHAPE, device=CPU, dtype=torch.float32)
    work = workload(model, token_batches(SHAPE, rows=2, tokens=8, micro_rows=2, device=CPU), case="tiny", dtype=None)
    file = RecordFile(tmp_path / "records.json", CPU)
    with monkeypatch.context() as patch:
        patch.setattr(HessianOperator, "matvec", starved)
        measure_product(work, file, "reverse", repeats=1, gradient_seconds=None, limit_gb=75.0)
    measure_product(work, file, "reverse", repeats=1, gradient_seconds=None, limit_gb=-1.0)
    failed, passed = json.loads((tmp_path / "records.json").read_text())["records"]
    assert failed["error"] == "CUDA out of memory. Tried to allocate 20.00 GiB"
    assert failed["seconds"] is None
    assert passed["seconds"] > 0
    assert passed["note"] == "above the limit of -1 GB"


def test_the_random_model_is_made_in_its_type_and_adapted_where_lora_adapts() -> None:
    model = random_llama(SHAPE, device=CPU, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    names = decoder_weights(model)
    assert len(names) == 7 * 2
    assert not any("lm_head" in name for name in names)
    weight = torch.cat([model.get_parameter(name).detach().float().flatten() for name in names])
    assert float(weight.std()) == pytest.approx(0.02, rel=0.05)
    batches = token_batches(SHAPE, rows=5, tokens=8, micro_rows=2, device=CPU)
    assert [len(batch["labels"]) for batch in batches] == [2, 2, 1]
    assert Objective(model, batches).value() == pytest.approx(np.log(32), rel=0.05)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--layers", "zero"], "--layers: found 'zero'; expected a whole number of at least 1"),
        (["--heads", "3"], "--heads: found 3; expected a divisor of --hidden=4096"),
        (["--kv-heads", "5"], "--kv-heads: found 5; expected a divisor of --heads=32"),
        (["--cases", "product"], "--cases: unknown case 'product', did you mean 'products'?; known: products, ends"),
        (["--out", "/no/such/folder/x.json"], "--out: the folder of /no/such/folder/x.json does not exist"),
        (["--tolerances", "1e-2,-1"], "--tolerances: found '1e-2,-1'; expected a number above 0"),
    ],
)
def test_bad_flags_are_one_line(capsys, flags, message) -> None:
    assert large.main(["--device", "cpu", *flags]) == 2
    assert message in capsys.readouterr().err


def test_scaling_writes_both_lists_and_finds_a_known_slope(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(scaling, "SHAPES", {"small": SHAPE, "wide": LlamaShape(32, 48, 2, 2, 1, 32)})
    out = tmp_path / "scaling.json"
    flags = ["--sizes", "small,wide", "--base", "wide", "--rows", "1,2", "--tokens", "8", "--repeats", "1"]
    assert scaling.main([*flags, "--device", "cpu", "--dtype", "float32", "--out", str(out)]) == 0
    records = json.loads(out.read_text())["records"]
    assert len(records) == 3 * 3
    assert "slope of log seconds of product in log parameters" in capsys.readouterr().out
    known = [
        CurvatureRecord(case="x", device="cpu", quantity="product", seconds=2.0 * n**0.75, parameters=n)
        for n in (10, 100, 1000, 10000)
    ]
    assert scaling.slope(known, "product", "parameters") == pytest.approx(0.75, rel=1e-12)
    assert scaling.slope(known[:1], "product", "parameters") is None
    assert scaling.main(["--sizes", "huge"]) == 2
