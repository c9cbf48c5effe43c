from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import models
from benchmarks.errors import UsageError
from benchmarks.plan import plan_runs
from benchmarks.settings import CompareSettings
from benchmarks.tasks import TASKS, create_task
from benchmarks.tasks.pocket_math import PocketMath
from tests.models import save_tiny_model, save_tiny_t5
from tests.real_data import write_lines
from tests.tiny_pictures import save_tiny_text_to_image

SETTINGS = CompareSettings(device="cpu")


def test_runs_are_methods_by_tasks_by_seeds_in_pairs() -> None:
    specs, folders = plan_runs(replace(SETTINGS, seeds=2))
    assert [(s.seed, s.method) for s in specs] == [
        (seed, method) for seed in (0, 1) for method in ("lora", "lora-sam", "bilora")
    ]
    assert len({s.key for s in specs}) == 6
    assert {name: folder.name for name, folder in folders.items()} == {"pocket-llama": "pocket-llama"}


class _Elsewhere(PocketMath):
    name = "elsewhere"
    base = "pocket-abacus"


def test_every_task_is_fine_tuned_on_its_own_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "elsewhere", _Elsewhere)
    both = replace(SETTINGS, tasks=("pocket-math", "elsewhere"))
    with pytest.raises(UsageError, match=r"--tasks: elsewhere is made for the base pocket-abacus, .* --model$"):
        plan_runs(both)
    monkeypatch.setattr(models, "SHIPPED", tmp_path)
    save_tiny_model(tmp_path / "pocket-llama")
    save_tiny_t5(tmp_path / "pocket-abacus")
    specs, folders = plan_runs(both)
    assert folders == {name: tmp_path / name for name in ("pocket-llama", "pocket-abacus")}
    assert {(spec.task, spec.model) for spec in specs} == {
        ("pocket-math", "pocket-llama"),
        ("elsewhere", "pocket-abacus"),
    }
    assert {spec.model_fingerprint for spec in specs} == {models.fingerprint(folder) for folder in folders.values()}


def test_one_named_model_is_taken_for_all_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "elsewhere", _Elsewhere)
    specs, folders = plan_runs(replace(SETTINGS, tasks=("pocket-math", "elsewhere"), model="pocket-llama"))
    assert {spec.model for spec in specs} == set(folders) == {"pocket-llama"}


def test_the_recipe_of_the_task_is_the_default_and_can_be_overridden() -> None:
    recipe = create_task("pocket-math").recipe
    spec = plan_runs(SETTINGS)[0][0]
    assert (spec.steps, spec.batch_size, spec.learning_rate) == (
        recipe.steps,
        recipe.batch_size,
        recipe.learning_rate,
    )
    spec = plan_runs(replace(SETTINGS, steps=3, batch_size=8, micro_batch_size=2, learning_rate=0.5))[0][0]
    assert (spec.steps, spec.batch_size, spec.micro_batch_size, spec.learning_rate) == (3, 8, 2, 0.5)


def test_defaults_of_a_method_are_part_of_its_key() -> None:
    default = plan_runs(SETTINGS)[0][2]
    explicit = plan_runs(replace(SETTINGS, options={"bilora": {"rho": default.options["rho"]}}))[0][2]
    other = plan_runs(replace(SETTINGS, options={"bilora": {"rho": 0.3}}))[0][2]
    assert default.key == explicit.key != other.key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ("lora", "bilor")}, "--methods: 'bilor': unknown method 'bilor', did you mean 'bilora'?"),
        ({"tasks": ("pocket-maths",)}, "--tasks: unknown task 'pocket-maths', did you mean 'pocket-math'?"),
        ({"model": "nowhere"}, "--model: 'nowhere' is neither a folder nor a shipped model"),
        ({"spaces": ("ful",)}, "--spaces: unknown space 'ful'; did you mean 'full'?"),
        (
            {"top": 0, "bottom": 0, "max_products": 1, "spaces": ("full", "full")},
            "expected one or more different names",
        ),
        ({"top": 9, "max_products": 5}, "max_products is 5; expected at least 10"),
        (
            {"options": {"bilora": {"rho": -1}}},
            "--options: method 'bilora': option rho is -1; expected a finite number >= 0",
        ),
        ({"options": {"bilora": {"roh": 1}}}, "did you mean 'rho'?"),
        ({"options": {"lorasam": {"rho": 1}}}, "--options: method 'lorasam' is not compared, did you mean 'lora-sam'?"),
        ({"baseline": "bilora", "methods": ("lora",)}, "--baseline: 'bilora' is not among --methods lora"),
        ({"batch_size": 6, "micro_batch_size": 4}, "--micro-batch-size: 4 does not divide the batch size 6"),
        (
            {"device_map": "auto", "device": "cpu"},
            "--device-map: spreads a model over GPUs, and the runs are on the cpu",
        ),
        (
            {"landscape": ("robustnes",)},
            "--landscape: found 'robustnes', did you mean 'robustness'?; expected any of robustness, density, surface",
        ),
        ({"landscape": ("surface",), "measure": False}, "--landscape: found with --measure false"),
        ({"cuda_graphs": True, "device": "cpu"}, "--cuda-graphs: found true, and the runs are on the cpu"),
    ],
)
def test_what_cannot_be_run_is_said_before_anything_runs(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        plan_runs(replace(SETTINGS, **changes))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_model_over_several_gpus_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    one_gpu = replace(SETTINGS, methods=("lora",), device="cuda")
    (spec,) = plan_runs(replace(one_gpu, device_map="auto"))[0]
    assert spec.device_map == "auto"
    assert spec.key != plan_runs(one_gpu)[0][0].key
    with pytest.raises(UsageError, match="--device-map: passes over several GPUs cannot be recorded"):
        plan_runs(replace(one_gpu, device_map="auto", cuda_graphs=True))


def test_methods_whose_passes_change_have_no_cuda_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    graphed = replace(SETTINGS, device="cuda", cuda_graphs=True)
    assert all(spec.cuda_graphs for spec in plan_runs(graphed)[0])
    with pytest.raises(UsageError, match=r"--cuda-graphs: passes of flat-lora change"):
        plan_runs(replace(graphed, methods=("lora", "flat-lora")))


def test_landscapes_are_part_of_the_key_of_runs_that_store_them_alone() -> None:
    plain, more = (plan_runs(replace(SETTINGS, landscape=kinds))[0][0] for kinds in (None, ("surface", "density")))
    assert plain.measurement is not None
    assert more.measurement is not None
    assert "landscape" not in plain.measurement
    assert more.measurement == plain.measurement | {"landscape": ["density", "surface"]}
    assert plain.key == plan_runs(SETTINGS)[0][0].key != more.key


def test_dynamics_are_recorded_of_plain_factors_only() -> None:
    assert {spec.dynamics for spec in plan_runs(replace(SETTINGS, dynamics=5))[0]} == {5}
    for methods in (("lora", "full-ft"), ("lora", "dora+bilora")):
        with pytest.raises(UsageError, match=f"--dynamics: {methods[1].replace('+', '.')} does not train factors"):
            plan_runs(replace(SETTINGS, dynamics=5, methods=methods))


def test_methods_that_make_no_sense_on_a_task_are_refused(tmp_path: Path) -> None:
    folder = str(save_tiny_text_to_image(tmp_path))
    icons = replace(SETTINGS, tasks=("pocket-icons",), model=folder)
    assert {spec.task for spec in plan_runs(icons)[0]} == {"pocket-icons"}
    with pytest.raises(UsageError, match=r"--methods: rop on pocket-icons is refused: it adds noise to logits"):
        plan_runs(replace(icons, methods=("lora", "rop")))
    with pytest.raises(UsageError, match=r"--methods: qlora on pocket-icons is refused: --quantize nf4"):
        plan_runs(replace(icons, methods=("lora",), quantize="nf4"))


def test_a_base_that_answers_with_another_thing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"pocket-llama answers with a text, and pocket-icons asks for a picture"):
        plan_runs(replace(SETTINGS, tasks=("pocket-icons",), model="pocket-llama"))
    folder = str(save_tiny_text_to_image(tmp_path))
    with pytest.raises(UsageError, match=r"answers with a picture, and pocket-math asks for a text"):
        plan_runs(replace(SETTINGS, model=folder))


def test_files_of_one_name_in_two_folders_are_refused_which_a_report_would_take_for_one_task(tmp_path: Path) -> None:
    files = [tmp_path / folder / "mine.jsonl" for folder in ("a", "b")]
    for file in files:
        write_lines(file, [{"instruction": f"{file.parent.name} {n}", "response": "r"} for n in range(4)])
    settings = replace(SETTINGS, model="pocket-llama", tasks=tuple(f"jsonl:{file}" for file in files))
    with pytest.raises(UsageError, match=r"a/mine\.jsonl and jsonl:.*b/mine\.jsonl are both called jsonl-mine"):
        plan_runs(settings)
    files[1] = files[1].rename(tmp_path / "b" / "other.jsonl")
    assert {spec.task for spec in plan_runs(replace(settings, tasks=tuple(f"jsonl:{f}" for f in files)))[0]} == {
        "jsonl-mine",
        "jsonl-other",
    }
