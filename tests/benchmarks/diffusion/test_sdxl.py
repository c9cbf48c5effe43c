"""What stands around SDXL's UNet, against diffusers' own pipeline."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from benchmarks.diffusion.sdxl import Sdxl, load_sdxl
from benchmarks.errors import UsageError
from tests.tiny_sdxl import save_sdxl, tiny_sdxl

CPU = torch.device("cpu")
TEXTS = ["a TOK icon, in the style of TOK", "a ToK icon of a roaring lion, in the style of ToK"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sdxl(tmp_path_factory.mktemp("sdxl"))


@pytest.fixture(scope="module")
def loaded(folder: Path) -> tuple[Any, Sdxl]:
    return load_sdxl(folder, device=CPU, dtype=torch.float32)


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> Any:
    found = StableDiffusionXLPipeline.from_pretrained(folder, local_files_only=True)
    found.set_progress_bar_config(disable=True)
    return found


def test_prompts_are_those_of_the_pipeline(loaded: tuple[Any, Sdxl], pipeline: Any) -> None:
    with torch.no_grad():
        states, negative, pooled, negative_pooled = pipeline.encode_prompt(TEXTS, device=CPU)
    prompts = loaded[1].prompts
    for index, text in enumerate(TEXTS):
        # The pipeline encoded both at once.
        assert torch.allclose(prompts.encode(text)[0], states[index], atol=1e-6)
        assert torch.allclose(prompts.encode(text)[1], pooled[index], atol=1e-6)
    assert torch.equal(prompts.unguided()[0], negative[0])
    assert torch.equal(prompts.unguided()[1], negative_pooled[0])
    assert not negative.any()


def test_where_the_empty_prompt_is_encoded_it_is_the_pipeline_s(tmp_path: Path) -> None:
    pipeline = tiny_sdxl()
    pipeline.register_to_config(force_zeros_for_empty_prompt=False)
    _, around = load_sdxl(save_sdxl(tmp_path, pipeline), device=CPU, dtype=torch.float32)
    with torch.no_grad():
        _, negative, _, negative_pooled = pipeline.encode_prompt(TEXTS[0], device=CPU)
    assert negative.any()
    assert torch.allclose(around.prompts.unguided()[0], negative[0], atol=1e-6)
    assert torch.allclose(around.prompts.unguided()[1], negative_pooled[0], atol=1e-6)


def test_a_prompt_is_encoded_once(loaded: tuple[Any, Sdxl], monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = loaded[1].prompts
    first = prompts.encode("once")
    monkeypatch.setattr(prompts, "encoders", ())
    assert prompts.encode("once")[0] is first[0]


def test_latents_are_the_scaled_means_of_the_autoencoder(loaded: tuple[Any, Sdxl], pipeline: Any) -> None:
    pixels = torch.randint(0, 256, (2, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    latents = loaded[1].latents
    with latents.working():
        found = torch.stack([latents.encode(picture) for picture in pixels])
        back = torch.stack([latents.decode(row) for row in found])
    with torch.no_grad():
        mean = pipeline.vae.encode(pixels / 127.5 - 1).latent_dist.mean
        decoded = pipeline.vae.decode(mean).sample
    assert torch.allclose(found, mean * pipeline.vae.config.scaling_factor, atol=1e-6)
    shown = pipeline.image_processor.postprocess(decoded, output_type="np")
    assert (back.numpy() / 255 - shown.transpose(0, 3, 1, 2)).__abs__().max() < 1 / 254


def test_latents_follow_a_mean_and_a_spread_where_the_model_has_them(tmp_path: Path) -> None:
    pipeline = tiny_sdxl()
    pipeline.vae.register_to_config(latents_mean=[1.0, 2.0, 3.0, 4.0], latents_std=[2.0] * 4)
    _, around = load_sdxl(save_sdxl(tmp_path, pipeline), device=CPU, dtype=torch.float32)
    pixels = torch.full((1, 3, 16, 16), 200, dtype=torch.uint8)
    with torch.no_grad():
        mean = pipeline.vae.encode(pixels / 127.5 - 1).latent_dist.mean
    wanted = (mean - torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1)) * pipeline.vae.config.scaling_factor / 2
    assert torch.allclose(around.latents.encode(pixels[0]), wanted[0], atol=1e-5)


def test_the_unet_has_the_type_that_is_asked_for_and_the_rest_is_float32(folder: Path) -> None:
    unet, around = load_sdxl(folder, device=CPU, dtype=torch.bfloat16)
    assert {p.dtype for p in unet.parameters()} == {torch.bfloat16}
    others = (around.latents.vae, *around.prompts.encoders)
    assert {p.dtype for part in others for p in part.parameters()} == {torch.float32}
    assert unet.signal_shares.dtype == torch.float32
    assert not unet.training


def test_the_schedule_is_the_scheduler_s(loaded: tuple[Any, Sdxl], pipeline: Any) -> None:
    assert torch.allclose(loaded[0].signal_shares, pipeline.scheduler.alphas_cumprod, atol=1e-6)
    assert (loaded[0].predicts, loaded[1].steps) == ("epsilon", 1000)
    assert type(loaded[1].scheduler) is type(pipeline.scheduler)
    with pytest.raises(ValueError, match="prediction_type 'sample'; expected epsilon"):
        loaded[0].use_schedule(torch.ones(3), "sample")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("EulerDiscretScheduler", r"'EulerDiscretScheduler'; .*, did you mean 'EulerDiscreteScheduler'\?"),
        ("UNet2DConditionModel", "'UNet2DConditionModel'; expected a scheduler of diffusers"),
        ("__version__", "'__version__'; expected a scheduler of diffusers"),
        (None, "None; expected a scheduler of diffusers"),
    ],
)
def test_a_scheduler_that_is_none_of_diffusers_is_refused(
    folder: Path, tmp_path: Path, name: str | None, message: str
) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "sdxl"))
    path = other / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_class_name": name}))
    with pytest.raises(UsageError, match=rf"scheduler_config\.json has _class_name {message}"):
        load_sdxl(other, device=CPU, dtype=torch.float32)
