"""The command as a user runs it, on a tiny random model and a few steps."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from analysis import AnalysisError
from benchmarks import compare, execution, measuring, models
from benchmarks.tasks import create_task
from reports.set_scores import Answered, set_score
from tests.models import save_tiny_model, save_tiny_t5

COLUMNS = {
    "method", "task", "seed", "score", "train_loss", "eval_loss", "generalization_gap", "step_seconds",
    "peak_memory_bytes", "gradient_evaluations", "perturbation_norm", "lambda_max_full", "lambda_min_full",
    "lambda_max_lora", "worst_case_full", "worst_case_lora", "average_case_full",
}  # fmt: skip


def arguments(folder: Path, *more: str) -> list[str]:
    return [
        *("--model", str(folder / "model"), "--out", str(folder / "out"), "--device", "cpu", "--threads", "1"),
        *("--steps", "4", "--batch-size", "4", "--learning-rate", "0.01", "--evaluations", "2"),
        *("--evaluation-examples", "4", "--test-examples", "4", "--measure-examples", "4"),
        *("--max-products", "30", *more),
    ]


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    save_tiny_model(folder / "model")
    assert compare.main(arguments(folder)) == 0
    return folder


def test_results_have_a_row_per_method_with_every_column(finished: Path) -> None:
    table = pd.read_csv(finished / "out" / "results.csv")
    assert table["method"].tolist() == ["lora", "lora-sam", "bilora"]
    assert table.columns.is_unique
    assert set(table.columns) >= COLUMNS
    assert table[sorted(COLUMNS)].notna().all(axis=None)
    assert table["gradient_evaluations"].tolist() == [4, 8, 4]
    assert table["perturbation_norm"].iloc[0] == 0.0
    assert (table["perturbation_norm"].iloc[1:] > 0).all()
    assert pd.read_parquet(finished / "out" / "results.parquet").shape == table.shape


def test_report_is_there_and_names_the_runs(finished: Path) -> None:
    report = finished / "out" / "report"
    page = (report / "index.html").read_text()
    assert "https://" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    for text in (page, (report / "report.md").read_text()):
        assert all(name in text for name in ("lora-sam", "bilora", "pocket-math"))
    assert list(report.rglob("*.png"))
    assert list(report.rglob("*.pdf"))


def test_exported_adapter_is_plain_peft(finished: Path) -> None:
    folder = next((finished / "out" / "runs").glob("pocket-math-bilora-*"))
    base = AutoModelForCausalLM.from_pretrained(finished / "model")
    model = PeftModel.from_pretrained(base, folder / "adapter")
    assert list(model.peft_config) == ["default"]


def test_the_same_command_does_nothing_that_is_done(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(finished / "out" / "runs")
    assert compare.main(arguments(finished)) == 0
    assert contents(finished / "out" / "runs") == before
    shown = capsys.readouterr().out
    assert "3 of 3 runs are finished already and kept" in shown
    head = shown.split("report: ")[0].split("kept")[1]
    assert "exact" in head  # heads the scores of the one task
    assert "score" not in head
    assert "…" not in head


def test_one_seed_gives_identical_numbers(finished: Path, tmp_path: Path) -> None:
    again = arguments(finished)
    again[again.index("--out") + 1] = str(tmp_path / "again")
    assert compare.main(again) == 0
    timing = ["step_seconds", "step_gradients", "peak_memory_bytes"]
    tables = [
        pd.read_csv(folder / "results.csv").drop(columns=timing) for folder in (finished / "out", tmp_path / "again")
    ]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


@pytest.mark.slow
def test_variants_full_fine_tuning_and_4_bits_in_one_comparison(tmp_path: Path) -> None:
    """One run of each kind that is trained, exported or measured in a way of its own."""
    save_tiny_model(tmp_path / "model")
    methods = "lora,full-ft,dora+bilora,pissa+lora-sam,lora-ga+lora,hira+bilora,bi-qlora"
    assert compare.main(arguments(tmp_path, "--methods", methods)) == 0
    table = pd.read_csv(tmp_path / "out" / "results.csv").set_index("method")
    assert table.index.tolist() == methods.split(",")
    assert table["lambda_max_full"].notna().all()
    # Their weight change is not s B A, or there are no factors at all.
    missing = table["lambda_max_lora"].isna()
    assert missing[missing].index.tolist() == ["full-ft", "dora+bilora", "hira+bilora"]
    for name in ("pissa+lora-sam", "lora-ga+lora"):
        folder = next((tmp_path / "out" / "runs").glob(f"pocket-math-{name}-*"))
        base = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
        assert PeftModel.from_pretrained(base, folder / "adapter").peft_config["default"].r == 16


@pytest.mark.slow
def test_several_tasks_have_their_own_metric_and_dialogues_go_on_from_the_models_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_tiny_model(tmp_path / "model")
    tasks = ("pocket-math", "pocket-chat", "pocket-instruct")
    flags = arguments(tmp_path, "--methods", "lora,bilora", "--tasks", ",".join(tasks), "--measure", "false")
    assert compare.main(flags) == 0
    printed = capsys.readouterr().out
    tables, lines = printed.split("\nmethod ")[1:], printed.splitlines()
    # Each under its metric's name, which may be broken between words.
    for shown, name in zip(tables, ("exact match", "rubric", "strict"), strict=True):
        assert name in shown.splitlines()[0]
    assert not any("…" in line for line in lines)
    assert sum("0.00 of 10" in line for line in lines) == 2
    assert sum("0.0 %" in line for line in lines) == 4
    table = pd.read_csv(tmp_path / "out" / "results.csv")
    assert table["task"].tolist() == [task for task in tasks for _ in range(2)]
    assert dict(zip(table["task"], table["full_marks"], strict=True)) == dict(zip(tasks, (100, 10, 100), strict=True))
    markdown = (tmp_path / "out" / "report" / "report.md").read_text()
    for head in ("Exact match, %", "Rubric score, of 10", "Strict accuracy, %"):
        assert f"| Method | {head} |" in markdown
    assert "Turns** Later turns of pocket-chat are asked" in markdown
    dialogues = json.loads(next((tmp_path / "out" / "runs").glob("pocket-chat-lora-*/examples.json")).read_text())
    assert [len(dialogue["turn_scores"]) for dialogue in dialogues] == [2] * 4
    assert all("Assistant:" in dialogue["generated"] for dialogue in dialogues)


@pytest.mark.slow
def test_an_encoder_decoder_is_trained_scored_measured_and_exported(tmp_path: Path) -> None:
    save_tiny_t5(tmp_path / "model")
    methods = "lora,lora-sam,bilora,full-ft,dora+bilora,lora-ga+lora,bi-qlora"
    assert compare.main(arguments(tmp_path, "--methods", methods)) == 0
    table = pd.read_csv(tmp_path / "out" / "results.csv").set_index("method")
    assert table.index.tolist() == methods.split(",")
    assert table[["train_loss", "eval_loss", "lambda_max_full", "worst_case_full"]].notna().all(axis=None)
    assert table.loc[["lora", "lora-sam", "bilora"], "lambda_max_lora"].notna().all()
    folder = next((tmp_path / "out" / "runs").glob("pocket-math-bilora-*"))
    base = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "model")
    adapted = PeftModel.from_pretrained(base, folder / "adapter")
    assert adapted.peft_config["default"].task_type == "SEQ_2_SEQ_LM"
    # The recorded loss is that of the exported adapter, by transformers' own loss, an example at a time.
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    total, counted = 0.0, 0
    for example in create_task("pocket-math").examples("test")[:4]:
        labels = tokenizer(example.completion, return_tensors="pt")["input_ids"]
        given = tokenizer(example.prompt, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            loss = adapted(input_ids=given, labels=labels).loss
        total, counted = total + loss.item() * labels.numel(), counted + labels.numel()
    assert table.loc["bilora", "eval_loss"] == pytest.approx(total / counted, rel=1e-5)


@pytest.mark.slow
def test_an_encoder_decoder_learns_the_same_from_smaller_passes(tmp_path: Path) -> None:
    """Four examples at once or one by one: the same gradient, that of the mean over all tokens."""
    save_tiny_t5(tmp_path / "model")
    norms = {}
    for size in ("4", "1"):
        flags = arguments(tmp_path, "--methods", "lora,lora-sam", "--measure", "false", "--micro-batch-size", size)
        assert compare.main([*flags, "--out", str(tmp_path / size)]) == 0
        for path in (tmp_path / size / "runs").glob("*/history.json"):
            method = path.parent.name.split("-seed")[0]
            norms[method, size] = [record["grad_norm"] for record in json.loads(path.read_text()) if "loss" in record]
    assert len(norms) == 4
    for method in ("pocket-math-lora", "pocket-math-lora-sam"):
        assert norms[method, "4"] == pytest.approx(norms[method, "1"], rel=1e-3)


def test_a_task_of_another_base_is_trained_on_it_and_scored_by_its_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "SHIPPED", tmp_path / "shipped")
    save_tiny_t5(tmp_path / "shipped" / "pocket-t5")
    flags = arguments(tmp_path, "--tasks", "pocket-nlu-acceptability", "--methods", "lora", "--measure", "false")
    del flags[:2]
    assert compare.main(flags) == 0
    folder = next((tmp_path / "out" / "runs").glob("pocket-nlu-acceptability-lora-*"))
    record = json.loads((folder / "run.json").read_text())
    assert (record["spec"]["model"], record["row"]["metric"]) == ("pocket-t5", "Matthews correlation")
    examples = json.loads((folder / "examples.json").read_text())
    answered = [Answered(score=e["score"], reference=e["reference"], generated=e["generated"]) for e in examples]
    assert record["row"]["score"] == set_score("Matthews correlation", answered)
    assert "| Method | Matthews correlation, x 100 |" in (tmp_path / "out" / "report" / "report.md").read_text()


def test_a_failing_run_is_marked_and_the_others_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_tiny_model(tmp_path / "model")
    diverging = arguments(
        tmp_path, "--methods", "lora,bilora", "--options", "bilora.rho=1e30,bilora.auxiliary_learning_rate=1e30"
    )
    assert compare.main([*diverging, "--measure", "false"]) == 1
    assert "failed (train): training diverged" in capsys.readouterr().err
    assert pd.read_csv(tmp_path / "out" / "results.csv")["method"].tolist() == ["lora"]
    assert "training diverged" in (tmp_path / "out" / "report" / "index.html").read_text()


def test_nothing_finished_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_tiny_model(tmp_path / "model")
    diverging = ["--methods", "bilora", "--baseline", "bilora", "--options"]
    values = "bilora.rho=1e30,bilora.auxiliary_learning_rate=1e30"
    assert compare.main([*arguments(tmp_path), *diverging, values]) == 1
    assert "no run was finished" in capsys.readouterr().err


def test_a_failing_measurement_keeps_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tiny_model(tmp_path / "model")

    def failing(*args: Any, **kwargs: Any) -> None:
        raise AnalysisError("the loss is not deterministic")

    monkeypatch.setattr(measuring, "measure_flatness", failing)
    assert compare.main(arguments(tmp_path, "--methods", "lora")) == 1
    assert "is trained and scored, not measured: the loss is not deterministic" in capsys.readouterr().err
    row = pd.read_csv(tmp_path / "out" / "results.csv").iloc[0]
    assert row["score"] >= 0
    assert row[["lambda_max_full", "worst_case_lora"]].isna().all()
    assert "the loss is not deterministic" in (tmp_path / "out" / "report" / "index.html").read_text()


def test_a_missing_measurement_is_said_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tiny_model(tmp_path / "model")
    monkeypatch.setattr(measuring, "measure_flatness", lambda *a, **k: (_ for _ in ()).throw(AnalysisError("no loss")))
    flags = arguments(tmp_path, "--methods", "lora")
    assert compare.main(flags) == compare.main(flags) == 1
    assert capsys.readouterr().err.count("not measured: no loss") == 2


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.compare", *arguments(folder, "--measure", "false", "--steps", "30")]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_a_kill_loses_no_finished_run(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "model")
    runs = tmp_path / "out" / "runs"
    process = start(tmp_path)
    while process.poll() is None and not list(runs.glob("pocket-math-lora-seed0-*/run.json")):
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {str(path): path.stat().st_mtime_ns for path in runs.glob("pocket-math-*/run.json")}
    assert 1 <= len(kept) < 3
    assert start(tmp_path).wait() == 0
    now = {str(path): path.stat().st_mtime_ns for path in runs.glob("pocket-math-*/run.json")}
    assert len(now) == 3
    assert kept.items() <= now.items()
    assert {path.name for path in runs.iterdir()} == {Path(name).parent.name for name in now}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--methods", "lora,bilor"], "--methods: 'bilor': unknown method 'bilor'"),
        (["--tasks", "pocket-mat"], "--tasks: unknown task 'pocket-mat'"),
        (["--model", "nowhere"], "--model: 'nowhere'"),
        (["--config", "bad.yaml"], "is not valid YAML"),
        (["--radius", "-0.5"], "--radius: found '-0.5'"),
        (["--options", "bilora.rho=-1"], "option rho is -1"),
        (["--seeds", "0"], "--seeds: found '0'"),
        (["--out", "bad.yaml/out"], "--out: "),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    changes: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text("seeds: [")
    before = contents(tmp_path)
    assert compare.main(changes) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    assert message in output.err
    assert contents(tmp_path) == before


def test_print_config_prints_yaml_that_can_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main(["--print-config", "--seeds", "2"]) == 0
    (tmp_path / "c.yaml").write_text(capsys.readouterr().out)
    assert compare.main(["--print-config", "--config", str(tmp_path / "c.yaml")]) == 0
    assert capsys.readouterr().out == (tmp_path / "c.yaml").read_text()


def test_an_interrupt_is_answered_calmly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tiny_model(tmp_path / "model")

    def interrupted(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(execution, "execute", interrupted)
    assert compare.main(arguments(tmp_path)) == 130
    assert "the same command goes on from here" in capsys.readouterr().err
    assert list((tmp_path / "out" / "runs").iterdir()) == []


def test_history_holds_clean_losses_and_the_methods_own_records(finished: Path) -> None:
    folder = next((finished / "out" / "runs").glob("pocket-math-bilora-*"))
    history = json.loads((folder / "history.json").read_text())
    assert [r["step"] for r in history if "validation_loss" in r] == [2, 4]
    assert {"loss", "learning_rate", "perturbation_norm", "clip_active", "grad_norm"} <= history[0].keys()
