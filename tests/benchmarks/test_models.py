from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.errors import UsageError
from benchmarks.loading import load_model
from benchmarks.models import fingerprint, locate_model, shipped_models
from tests.models import save_tiny_model


def test_shipped_models_are_found_by_name() -> None:
    assert "pocket-llama" in shipped_models()
    assert (locate_model("pocket-llama") / "config.json").is_file()


def test_a_folder_is_loaded_in_fp32(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "m")
    model, tokenizer = load_model(locate_model(str(folder)), device=torch.device("cpu"))
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert tokenizer.pad_token_id == 0


def test_fingerprint_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    first = save_tiny_model(tmp_path / "a")
    assert fingerprint(first) == fingerprint(save_tiny_model(tmp_path / "b"))
    assert fingerprint(first) != fingerprint(save_tiny_model(tmp_path / "c", seed=1))


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "does not hold a model configuration"),
        ("tokenizer.json", "does not hold a tokenizer"),
        ("model.safetensors", "does not hold weights in safetensors format"),
    ],
)
def test_incomplete_folders_are_refused(tmp_path: Path, missing: str, message: str) -> None:
    folder = save_tiny_model(tmp_path / "m")
    (folder / missing).unlink()
    with pytest.raises(UsageError, match=message):
        locate_model(str(folder))


def test_unknown_names_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'pocket-llama'"):
        locate_model("poket-llama")
    with pytest.raises(UsageError, match="is neither a folder nor a shipped model"):
        locate_model("x" * 300)
    folder = save_tiny_model(tmp_path / "broken")
    (folder / "model.safetensors").write_text("junk")
    with pytest.raises(UsageError, match=r"--model: .* cannot be read: .*header"):
        locate_model(str(folder))
    folder = save_tiny_model(tmp_path / "m")
    (folder / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(UsageError, match=r"--model: .* cannot be loaded as a language model") as error:
        load_model(folder, device=torch.device("cpu"))
    assert "\n" not in str(error.value)
