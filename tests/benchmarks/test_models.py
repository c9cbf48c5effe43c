from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.diffusion.architecture import TextToImage
from benchmarks.errors import UsageError
from benchmarks.language import LanguageModel
from benchmarks.loading import load_model, open_model
from benchmarks.models import fingerprint, locate_model, medium_of, shipped_models
from tests.models import save_tiny_model
from tests.tiny_pictures import save_tiny_text_to_image


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
    with pytest.raises(UsageError, match=r"--model: .*model.safetensors is no safetensors file: .*header"):
        locate_model(str(folder))
    folder = save_tiny_model(tmp_path / "m")
    (folder / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(UsageError, match=r"--model: .* cannot be loaded as a language model") as error:
        load_model(folder, device=torch.device("cpu"))
    assert "\n" not in str(error.value)


def test_a_text_to_image_model_is_recognised_by_its_unet(tmp_path: Path) -> None:
    folder, language = save_tiny_text_to_image(tmp_path / "p"), save_tiny_model(tmp_path / "m")
    assert (medium_of(locate_model(str(folder))), medium_of(language)) == ("picture", "text")
    assert isinstance(open_model(folder, device=torch.device("cpu"))[1], TextToImage)
    assert isinstance(open_model(language, device=torch.device("cpu"))[1], LanguageModel)


def test_the_fingerprint_of_a_text_to_image_model_follows_all_its_parts(tmp_path: Path) -> None:
    folder = save_tiny_text_to_image(tmp_path / "a")
    before = fingerprint(folder)
    assert before == fingerprint(save_tiny_text_to_image(tmp_path / "b"))
    for part in ("unet/config.json", "text_encoder/model.safetensors", "tokenizer/tokenizer.json"):
        content = (folder / part).read_bytes()
        (folder / part).write_bytes(content + b" ")
        assert fingerprint(folder) != before
        (folder / part).write_bytes(content)


@pytest.mark.parametrize(
    "part", ["unet/diffusion_pytorch_model.safetensors", "text_encoder/config.json", "tokenizer/tokenizer.json"]
)
def test_incomplete_text_to_image_folders_are_refused(tmp_path: Path, part: str) -> None:
    folder = save_tiny_text_to_image(tmp_path)
    (folder / part).unlink()
    with pytest.raises(UsageError, match=r"holds a unet but no .*; save all parts"):
        locate_model(str(folder))


def test_without_diffusers_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.models.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs diffusers; install it with pip install 'bilora\[sdxl\]'"):
        locate_model(str(save_tiny_text_to_image(tmp_path)))
