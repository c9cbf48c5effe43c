"""What is printed of a plan, in the words of the command."""

from __future__ import annotations

import pytest
import yaml

from benchmarks import compare
from benchmarks.presets import canonical_names


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert compare.main(arguments) == 0
    return capsys.readouterr().out


def test_the_plan_of_a_preset_says_what_it_is_takes_needs_and_leaves_open(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--preset", "table1-llama2-math", "--dry-run")
    for part in (
        "of the paper (arXiv 2508.19564): Table 1, Table A16",
        "36 runs (method x task x seed) on meta-llama/Llama-2-7b-hf, into table1-llama2-math",
        "metamathqa  lora-sam",
        "GPU hours on one H200 of training",
        "more than the 141 GB of one H200",
        "1,024 tokens (or latents) in every row",
        "scaled from llama-3.1-8b at 4x1024",
        "- data meta-math/MetaMathQA for metamathqa, 100,000 training examples",
        "- missing: the model meta-llama/Llama-2-7b-hf is neither a folder here nor in the cache",
        "Table 1 (gsm8k), Table A16 (metamathqa)",
        "- lora-esam.rho: LoRA-SAM's; the paper gives none for ESAM",
    ):
        assert part in text
    assert "6,250" in text


def test_choices_about_methods_that_are_left_out_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--preset", "table1-llama2-math", "--methods", "lora,dora+bilora", "--dry-run")
    assert "bilora.radius_includes_scaling" in text
    assert "lora-esam.rho" not in text


def test_the_plan_without_a_preset_has_the_task_s_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--dry-run", "--seeds", "2", "--out", "nowhere")
    assert "6 runs (method x task x seed) on pocket-llama, into nowhere" in text
    assert "0 of 2" in text
    assert "hours on two CPU cores of training" in text
    assert "our choice" not in text


def test_parts_are_planned_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--preset", "tableA4-t5-radius", "--dry-run")
    assert [f"part rho-{rho}: 3 runs" in text for rho in ("0.01", "0.05", "0.1", "0.2")] == [True] * 4
    assert "total: 12 runs" in text


def test_the_list_names_every_preset_and_its_other_names(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--list-presets")
    assert all(f"{name} (" in text for name in canonical_names())
    assert "also called table7-llama31-cost, tableA17-llama31-cost" in text


def test_the_printed_configuration_is_yaml_with_a_document_for_each_part(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--preset", "tableA7-t5-auxiliary-rate", "--print-config")
    documents = list(yaml.safe_load_all(text))
    assert [d["options"]["bilora"]["auxiliary_learning_rate"] for d in documents] == [1e-4, 5e-4, 5e-3]
    assert "# glue-cola: epochs 10" in text


def test_an_unknown_preset_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main(["--preset", "table1-llama2-maths", "--dry-run"]) == 2
    message = capsys.readouterr().err
    assert "did you mean 'table1-llama2-math'?" in message
    assert message.count("\n") == 1


def test_the_plan_of_dreambooth_counts_the_pictures_that_are_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    alone = shown(capsys, "--preset", "table3-sdxl-icons", "--dry-run")
    assert (
        "a run of dreambooth-3d-icons draws 12 pictures on top, 2.1 s each as measured on one H200: 0.01 hours" in alone
    )
    judged = shown(
        capsys, "--preset", "table3-sdxl-icons", "--dry-run", "--clip-model", "openai/clip-vit-large-patch14"
    )
    assert "draws 1,218 pictures on top" in judged
    few = shown(capsys, "--preset", "table3-sdxl-icons", "--dry-run", "--clip-model", "a/b", "--test-examples", "60")
    assert "draws 78 pictures on top" in few
    assert "missing: the model a/b of --clip-model is neither a folder here nor in the cache of the hub" in few
