from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.errors import UsageError
from benchmarks.judge_models import judge_fingerprint, locate_judge
from tests.models import save_tiny_model
from tests.tiny_sdxl import save_captioner, save_clip


def test_a_clip_model_and_a_captioner_are_found(tmp_path: Path) -> None:
    clip, blip = save_clip(tmp_path / "clip"), save_captioner(tmp_path / "blip")
    assert locate_judge(str(clip), flag="--clip-model") == clip
    assert locate_judge(str(blip), flag="--caption-model") == blip
    before = judge_fingerprint(clip)
    assert judge_fingerprint(Path(shutil.copytree(clip, tmp_path / "copy"))) == before
    (clip / "preprocessor_config.json").write_text("{}")
    assert judge_fingerprint(clip) != before


def test_what_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    language = save_tiny_model(tmp_path / "llama")
    (language / "preprocessor_config.json").write_text("{}")
    clip = save_clip(tmp_path / "clip")
    for name, flag, message in (
        (str(language), "--clip-model", "is a model of type 'llama'; expected 'clip'"),
        (str(clip), "--caption-model", "is a model of type 'clip', which writes no text about pictures"),
        ("nowhere", "--clip-model", "'nowhere' is no folder; expected one, or OWNER/NAME"),
    ):
        with pytest.raises(UsageError, match=message) as error:
            locate_judge(name, flag=flag)
        assert str(error.value).startswith(flag)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "a model configuration"),
        ("model.safetensors", "weights in safetensors format"),
        ("preprocessor_config.json", "what prepares its pictures"),
    ],
)
def test_an_incomplete_folder_is_refused(tmp_path: Path, missing: str, message: str) -> None:
    (save_clip(tmp_path) / missing).unlink()
    with pytest.raises(UsageError, match=f"does not hold {message}"):
        locate_judge(str(tmp_path), flag="--clip-model")


def test_a_name_on_the_hub_that_cannot_be_reached_names_the_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match=r"^--clip-model: .*no folder here"):
        locate_judge("openai/clip-vit-base-patch32", flag="--clip-model")
