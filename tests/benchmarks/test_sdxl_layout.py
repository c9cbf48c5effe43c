from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.errors import UsageError
from benchmarks.models import fingerprint, locate_model, medium_of, shipped_models
from benchmarks.sdxl_layout import check_sdxl, is_sdxl, own_resolution, pixels_of_a_latent
from tests.tiny_sdxl import SIDE, save_sdxl


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sdxl(tmp_path_factory.mktemp("sdxl"))


@pytest.fixture
def folder(complete: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(complete, tmp_path / "sdxl"))


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_what_diffusers_saves_is_found_and_measured(complete: Path) -> None:
    assert locate_model(str(complete)) == complete
    assert medium_of(complete) == "picture"
    assert (pixels_of_a_latent(complete), own_resolution(complete)) == (2, SIDE)
    assert not any(is_sdxl(locate_model(name)) for name in shipped_models())


def test_every_part_is_in_the_fingerprint(folder: Path) -> None:
    found = {fingerprint(folder)}
    for part in ("vae/config.json", "scheduler/scheduler_config.json", "tokenizer_2/vocab.json", "model_index.json"):
        edit(folder / part, _more=1)
        found.add(fingerprint(folder))
    assert len(found) == 5


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder_2", "tokenizer_2", "scheduler"])
def test_a_missing_folder_is_named(folder: Path, part: str) -> None:
    shutil.rmtree(folder / part)
    with pytest.raises(UsageError, match=rf"lacks the folder {part}; an SDXL model has unet, vae"):
        locate_model(str(folder))


def test_pickles_and_missing_weights_are_told_apart(folder: Path) -> None:
    weights = next((folder / "vae").glob("*.safetensors"))
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(UsageError, match="holds pickled weights, which can run any code"):
        check_sdxl(folder)
    weights.with_suffix(".bin").unlink()
    with pytest.raises(UsageError, match="vae holds no weights in safetensors format"):
        check_sdxl(folder)


def test_variants_alone_and_broken_weights_are_refused(folder: Path) -> None:
    weights = next((folder / "unet").glob("*.safetensors"))
    variant = weights.with_suffix(".fp16.safetensors")
    weights.rename(variant)
    with pytest.raises(UsageError, match=r"fp16\.safetensors is the variant in 16 bits alone; .* variant='fp16'"):
        check_sdxl(folder)
    weights.write_text("junk")
    with pytest.raises(UsageError, match=r"unet/.*\.safetensors cannot be read"):
        check_sdxl(folder)


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("model_index.json", {"_class_name": None}, "model_index.json names no class of pipeline; expected Stable"),
        ("model_index.json", {"_class_name": "FluxPipeline"}, "holds a FluxPipeline; expected a StableDiffusionXL"),
        ("unet/config.json", {"cross_attention_dim": 40}, "reads prompts of width 40 .* give 12 and 16, together 28"),
        ("unet/config.json", {"projection_class_embeddings_input_dim": 9}, "reads 9 values beside .* gives 34"),
        ("unet/config.json", {"addition_time_embed_dim": "x"}, "addition_time_embed_dim 'x'; expected a whole number"),
        (
            "text_encoder/config.json",
            {"hidden_size": "x"},
            "text_encoder of .* cannot be read: .*'hidden_size'",
        ),
        ("vae/config.json", {"block_out_channels": 5}, "block_out_channels 5; expected a list"),
        ("unet/config.json", {"in_channels": 9}, "takes 9 channels and its vae gives 4; inpainting"),
        (
            "scheduler/scheduler_config.json",
            {"prediction_type": "sample"},
            "prediction_type 'sample'; expected epsilon",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused_with_their_numbers(
    folder: Path, file: str, values: dict[str, Any], message: str
) -> None:
    edit(folder / file, **values)
    with pytest.raises(UsageError, match=message) as error:
        locate_model(str(folder))
    assert "\n" not in str(error.value)


def test_a_model_that_does_not_say_its_resolution_needs_the_flag(folder: Path) -> None:
    edit(folder / "unet" / "config.json", sample_size=None)
    assert locate_model(str(folder)) == folder
    with pytest.raises(UsageError, match="has sample_size None; expected a whole number; give --resolution"):
        own_resolution(folder)


def test_a_folder_without_an_index_or_with_a_broken_one_is_refused(folder: Path) -> None:
    (folder / "model_index.json").write_text("{")
    with pytest.raises(UsageError, match=r"model_index\.json cannot be read"):
        locate_model(str(folder))
    (folder / "model_index.json").unlink()
    with pytest.raises(UsageError, match=r"holds no model_index\.json"):
        locate_model(str(folder))
    shutil.rmtree(folder / "tokenizer")
    shutil.rmtree(folder / "vae")
    with pytest.raises(UsageError, match=r"holds a unet but no tokenizer/tokenizer\.json"):
        locate_model(str(folder))
