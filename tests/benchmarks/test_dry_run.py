"""Plans of every preset, made offline, and of a comparison whose runs are there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import dry_run
from benchmarks.dry_run import ComparisonPlan, plan_comparison
from benchmarks.errors import UsageError
from benchmarks.plan import plan_runs
from benchmarks.presets import canonical_names
from benchmarks.request import Comparison, read_request
from benchmarks.settings import CompareSettings
from benchmarks.store import RunStore
from benchmarks.written import write_json


def plans(*arguments: str) -> list[ComparisonPlan]:
    return [plan_comparison(comparison) for comparison in read_request(arguments).comparisons]


@pytest.mark.parametrize("name", canonical_names())
def test_every_preset_has_a_plan_without_weights_or_data(name: str, tmp_path: Path) -> None:
    for plan in plans("--preset", name, "--out", str(tmp_path / "out")):
        settings = plan.comparison.settings
        assert len(plan.runs) == len(settings.methods) * len(settings.tasks)
        for entry in plan.runs:
            assert entry.steps is not None
            assert entry.hours is not None
            assert 0 < entry.hours < 200
            assert entry.estimate is not None
            assert entry.estimate.bytes is not None
            assert 1e9 < entry.estimate.bytes < 3e11
    assert not (tmp_path / "out").exists()


def test_hours_are_steps_times_passes_times_seconds() -> None:
    plan = plans("--preset", "table1-llama31-alpaca", "--methods", "lora")[0]
    entry = plan.runs[0]
    assert entry.estimate is not None
    # Three epochs of 51,760 examples in batches of 128, 32 passes each.
    assert (entry.steps, entry.passes, entry.seeds) == (1215, 32, 3)
    assert entry.hours == pytest.approx(1215 * 32 * entry.estimate.seconds / 3600)


def test_what_is_finished_is_counted(tmp_path: Path) -> None:
    settings = CompareSettings(device="cpu", seeds=2, out=tmp_path)
    store = RunStore(tmp_path)
    for spec in plan_runs(settings)[0][:4]:  # all of the first seed, LoRA of the second
        (store.runs / spec.key).mkdir(parents=True)
        write_json(store.runs / spec.key / "run.json", {})
    plan = plan_comparison(Comparison(settings=settings))
    assert [(entry.label, entry.finished) for entry in plan.runs] == [("lora", 2), ("lora-sam", 1), ("bilora", 1)]
    assert plan.missing == ()
    assert all(entry.hours is not None for entry in plan.runs)


def test_a_user_s_own_model_has_no_estimate_and_no_excuse(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--model: 'nowhere' is neither a folder nor a shipped model"):
        plans("--model", "nowhere")


def test_code_of_a_model_is_trusted_by_the_plan_as_by_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def located(model: str, *, trust_remote_code: bool = False) -> Path:
        raise UsageError(f"{model} with trust {trust_remote_code}")

    monkeypatch.setattr(dry_run, "locate_model", located)
    for value, trusted in (("true", True), ("false", False)):
        with pytest.raises(UsageError, match=f"with trust {trusted}"):
            plans("--model", str(tmp_path), "--trust-remote-code", value)


def test_missing_models_are_part_of_the_plan() -> None:
    judge = ["--clip-model", "openai/clip-vit-large-patch14"]
    plan = plans("--preset", "table3-sdxl-icons", *judge)[0]
    assert any("clip-vit-large-patch14 of --clip-model" in sentence for sentence in plan.missing)
    assert any("stable-diffusion-xl" in sentence for sentence in plan.missing)
    assert plan.unknown
    assert plan.tokens == (128 * 128,)
    assert [entry.finished for entry in plan.runs] == [None] * 3
    assert plans("--preset", "table3-sdxl-icons", "--resolution", "512")[0].tokens == (64 * 64,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "pocket-maths"], "unknown task 'pocket-maths', did you mean 'pocket-math'?"),
        (["--options", "bilora.roh=1"], "did you mean 'rho'?"),
        (["--batch-size", "6", "--micro-batch-size", "4"], "4 does not divide the batch size 6"),
        (["--spaces", "ful"], "unknown space 'ful'"),
        (["--cuda-graphs", "true", "--methods", "lora,flat-lora"], "passes of flat-lora change"),
        (["--preset", "tableA2-t5-glue", "--dynamics", "5"], "--dynamics: full-ft does not train factors"),
    ],
)
def test_what_the_comparison_refuses_the_plan_refuses(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        plans(*arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_graphs_are_planned_where_there_is_no_gpu() -> None:
    eager, graphed = (
        plan_comparison(replace(comparison, settings=replace(comparison.settings, cuda_graphs=graphs))).runs[0]
        for comparison in read_request(["--preset", "tableA2-t5-glue", "--methods", "lora"]).comparisons
        for graphs in (False, True)
    )
    assert eager.hours is not None
    assert graphed.hours is not None
    assert graphed.hours < eager.hours


def test_rows_are_as_long_as_the_recipe_of_each_task_says() -> None:
    both = ["--tasks", "metamathqa,alpaca-cleaned", "--model", "meta-llama/Llama-2-7b-hf"]
    plan = plans(*both, "--micro-batch-size", "4")[0]
    assert plan.tokens == (1024, 256)
    long, short = (next(run for run in plan.runs if run.task == task) for task in ("metamathqa", "alpaca-cleaned"))
    assert long.estimate is not None
    assert short.estimate is not None
    assert long.estimate.seconds > 2 * short.estimate.seconds
    assert plans(*both, "--max-length", "512")[0].tokens == (512, 512)


def test_packing_takes_the_length_of_the_recipe_and_needs_steps_in_a_plan_too() -> None:
    packed = ["--tasks", "alpaca-cleaned", "--model", "meta-llama/Llama-2-7b-hf", "--packing", "true"]
    assert plans(*packed, "--steps", "10")[0].runs[0].steps == 10
    with pytest.raises(UsageError, match=r"--packing: .* add --steps"):
        plans(*packed)
    with pytest.raises(UsageError, match=r"--packing: .* has no length of its own; add --max-length"):
        plans("--tasks", "pocket-math", "--packing", "true", "--steps", "10")
