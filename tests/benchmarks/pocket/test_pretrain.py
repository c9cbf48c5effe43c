from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from benchmarks.pocket import pretrain, recipe
from benchmarks.pocket.bases import BASES
from benchmarks.pocket.corpus import build_shard


@pytest.fixture
def small_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the whole standard library takes ten seconds; a few texts of the same kind do for a smoke test."""

    def texts(index: int, *, seed: int, held_out: bool) -> str:
        return f'def function_{index}(x):\n    """Return {seed} for {held_out}."""\n    return {index} * x\n'

    monkeypatch.setattr("benchmarks.pocket.corpus.library_document", texts)


@pytest.mark.usefixtures("small_library")
@pytest.mark.parametrize(
    ("name", "kind"), [("pocket-llama", AutoModelForCausalLM), ("pocket-t5", AutoModelForSeq2SeqLM)]
)
def test_the_smoke_recipe_makes_a_complete_folder(
    name: str, kind: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "base"
    arguments = ["--model", name, "--smoke", "--device", "cpu", "--out", str(out)]
    assert pretrain.main(arguments) == 0
    assert "loss" in capsys.readouterr().out
    model = kind.from_pretrained(out, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(out, local_files_only=True)
    assert model.dtype == torch.bfloat16
    assert model.config.vocab_size == len(tokenizer)
    assert model.config.tie_word_embeddings
    with safe_open(out / "model.safetensors", framework="pt") as weights:
        assert {weights.get_slice(key).get_dtype() for key in weights.keys()} == {"BF16"}  # noqa: SIM118
    record = json.loads((out / "training_curve.json").read_text())
    assert record["curve"][-1]["loss"] < record["curve"][0]["loss"]
    assert set(record["held_out_loss"]) == set(BASES[name].shares)
    assert f"# {name}" in (out / "README.md").read_text()
    assert "--smoke" in (out / "README.md").read_text()
    # A second run must not destroy what the first one made.
    assert pretrain.main(arguments) == 2
    assert "already holds weights" in capsys.readouterr().err


@pytest.mark.usefixtures("small_library")
def test_shards_are_the_same_whoever_builds_them() -> None:
    options = pretrain.parser().parse_args(["--workers", "1", "--corpus-tokens", "8000", "--shard-tokens", "4000"])
    file = Path(pretrain.POCKET_MODELS / "pocket-llama" / "tokenizer.json")
    alone = list(recipe.shards(options, file))
    assert len(alone) == 2
    for number, shard in enumerate(alone):
        request = recipe.ShardRequest(shard=number, tokens=4000, seed=0, tokenizer_file=str(file))
        assert (build_shard(request) == shard).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tokens", "0"], "--tokens: found 0, expected a positive number"),
        (["--learning-rate", "-1"], "--learning-rate: found -1.0, expected a positive number"),
        (["--minutes", "nan"], "--minutes: found nan"),
    ],
)
def test_bad_values_are_refused_before_anything_is_written(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new"
    assert pretrain.main([*arguments, "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_an_unwritable_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert pretrain.main(["--out", str(tmp_path / "file" / "base")]) == 2
    assert "--out: cannot write to" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="refusing CUDA needs a machine without it")
def test_a_device_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pretrain.main(["--device", "cuda", "--out", str(tmp_path)]) == 2
    assert "--device: found cuda" in capsys.readouterr().err


def test_a_base_has_its_own_budget_and_what_is_given_goes_before_it() -> None:
    def budget(*arguments: str) -> tuple[int, float | None, int, float]:
        options = pretrain.parser().parse_args(arguments)
        pretrain.fill_in(options)
        return options.tokens, options.minutes, options.batch_rows, options.learning_rate

    assert budget() == (2_400_000_000, None, 256, 4e-3)
    tokens, minutes, *_ = budget("--model", "pocket-t5")
    assert minutes is not None
    # The limit in minutes is there for the whole recipe to take less than ten.
    assert minutes < 8
    assert budget("--model", "pocket-t5", "--minutes", "2")[:2] == (tokens, 2.0)
    assert budget("--model", "pocket-t5", "--tokens", "5")[:2] == (5, None)
