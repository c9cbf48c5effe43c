from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.errors import UsageError
from benchmarks.plan import plan_runs
from benchmarks.presets import canonical_names
from benchmarks.presets.preset import Case
from benchmarks.request import Comparison, read_request
from benchmarks.settings import CompareSettings
from tests.real_data import write_lines


def test_without_a_preset_a_request_is_the_settings() -> None:
    request = read_request(["--rank", "4"])
    assert request.preset is None
    assert [c.settings for c in request.comparisons] == [CompareSettings(rank=4)]
    assert request.comparisons[0].plan()[0] == plan_runs(CompareSettings(rank=4))[0]


def test_flags_override_the_file_and_the_file_the_preset(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("rank: 4\nbatch_size: 64\n")
    arguments = ["--preset", "tableA2-t5-glue", "--config", str(config), "--batch-size", "16"]
    comparison = read_request(arguments).comparisons[0]
    assert (comparison.settings.rank, comparison.settings.batch_size) == (4, 16)
    # Epochs are kept: 8,551 examples are 535 batches of 16.
    assert comparison.settings_of("glue-cola", "lora").steps == 5350


def test_what_a_flag_gives_holds_for_all_cases() -> None:
    arguments = ["--preset", "tableA3-t5-superglue", "--seeds", "2", "--steps", "7", "--learning-rate", "0.01"]
    comparison = read_request(arguments).comparisons[0]
    for task, method in (("superglue-cb", "full-ft"), ("superglue-wic", "lora")):
        own = comparison.settings_of(task, method)
        assert (own.seeds, own.steps, own.learning_rate) == (2, 7, 0.01)


def test_options_of_the_preset_are_kept_beside_those_of_a_flag() -> None:
    arguments = ["--preset", "table5-llama31-clip", "--options", "bilora.auxiliary_rank=4"]
    options = [c.settings.options["bilora"] for c in read_request(arguments).comparisons]
    assert [entry["clip"] for entry in options] == ["global", "per-layer", "none"]
    assert {(entry["rho"], entry["auxiliary_rank"]) for entry in options} == {(0.05, 4)}


def test_fewer_methods_drop_the_options_of_the_others_and_move_the_baseline() -> None:
    settings = read_request(["--preset", "table1-llama2-math", "--methods", "bilora,rop"]).comparisons[0].settings
    assert set(settings.options) == {"bilora", "rop"}
    assert settings.baseline == "bilora"


def test_methods_without_the_usual_baseline_are_compared_with_the_first() -> None:
    (comparison,) = read_request(["--methods", "bilora,rop"]).comparisons
    assert comparison.settings.baseline == "bilora"
    (comparison,) = read_request(["--methods", "bilora,rop", "--baseline", "lora"]).comparisons
    with pytest.raises(UsageError, match="--baseline: 'lora' is not among --methods bilora,rop"):
        comparison.check_names()


def test_a_baseline_may_be_spelt_otherwise_than_among_the_methods() -> None:
    settings = CompareSettings(methods=("lora+lora", "bilora"), baseline="lora")
    assert [choice.label for choice in Comparison(settings=settings).check_names()] == ["lora", "bilora"]


def test_parts_lie_in_folders_of_their_own(tmp_path: Path) -> None:
    request = read_request(["--preset", "tableA4-t5-radius", "--out", str(tmp_path)])
    assert [c.settings.out for c in request.comparisons] == [
        tmp_path / f"rho-{r}" for r in ("0.01", "0.05", "0.1", "0.2")
    ]
    assert read_request(["--preset", "table7-llama31-cost"]).comparisons[0].settings.out == Path(
        "table1-llama31-alpaca"
    )


def test_cases_change_some_runs_and_leave_the_pairs_together() -> None:
    settings = CompareSettings(methods=("lora", "bilora"), device="cpu", seeds=2, steps=5)
    cases = (Case(tasks=(), methods=("bilora",), values={"learning_rate": 0.5}),)
    specs, folders = Comparison(settings=settings, cases=cases).plan()
    assert [(s.seed, s.method, s.learning_rate == 0.5) for s in specs] == [
        (seed, method, method == "bilora") for seed in (0, 1) for method in ("lora", "bilora")
    ]
    plain = plan_runs(settings)[0]
    # What no case touches is the run of a comparison without cases.
    assert [s.key for s in specs if s.method == "lora"] == [s.key for s in plain if s.method == "lora"]
    assert set(folders) == {"pocket-llama"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "table8"], "--preset: unknown preset 'table8'"),
        (
            ["--preset", "tableA2-t5-glue", "--tasks", "pocket-math"],
            "does not know how many examples 'pocket-math' has",
        ),
        (["--preset", "tableA2-t5-glue", "--methods", "lora,bilor"], "unknown method 'bilor', did you mean 'bilora'?"),
        (["--preset", "tableA2-t5-glue", "--baseline", "rop"], "--baseline: 'rop' is not among --methods"),
        (["--preset", "tableA2-t5-glue", "--options", "rop.rho=1"], "--options: method 'rop' is not compared"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_in_one_line(arguments: list[str], message: str) -> None:
    def read() -> None:
        for comparison in read_request(arguments).comparisons:
            comparison.check_names()

    with pytest.raises(UsageError) as error:
        read()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", canonical_names())
def test_every_preset_is_read_with_all_its_names_and_options(name: str) -> None:
    request = read_request(["--preset", name])
    for comparison in request.comparisons:
        choices = comparison.check_names()
        assert len(choices) == len(comparison.settings.methods)
        for task in comparison.settings.tasks:
            assert all((comparison.settings_of(task, m).steps or 0) > 0 for m in comparison.settings.methods)


def test_a_full_local_copy_is_trained_on_for_as_many_steps_as_the_hub_s(tmp_path: Path) -> None:
    rows = [{"sentence": f"s {n}", "label": n % 2} for n in range(8551)]
    write_lines(tmp_path / "train.jsonl", rows)
    write_lines(tmp_path / "validation.jsonl", rows[:5])
    preset = ["--preset", "tableA2-t5-glue", "--tasks", "glue-cola"]
    hub, local = (
        read_request([*preset, *given]).comparisons[0].settings_of("glue-cola", "lora").steps
        for given in ([], ["--data", str(tmp_path)])
    )
    assert hub == local == 10 * 268
