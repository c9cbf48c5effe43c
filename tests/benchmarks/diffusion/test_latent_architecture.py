from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionXLPipeline
from torch.nn.functional import mse_loss

from benchmarks.diffusion.latent_architecture import DRAWS, LatentTextToImage
from benchmarks.loading import LoadOptions, open_model
from benchmarks.spec import RunSpec
from benchmarks.tasks import create_task
from benchmarks.tasks.dreambooth import SHOWN, DreamBooth
from benchmarks.training import TrainedRun, train
from tests.benchmarks.test_spec import SPEC as ANY
from tests.tiny_sdxl import SIDE, save_captioner, save_clip, save_pictures, save_sdxl, tiny_sdxl

CPU = torch.device("cpu")
SPEC = replace(
    ANY,
    method="lora",
    options={},
    task="dreambooth-3d-icons",
    steps=2,
    batch_size=2,
    micro_batch_size=1,
    learning_rate=1e-2,
    warmup=0.0,
    rank=2,
    evaluations=0,
    evaluation_examples=2,
    measurement=None,
    schedule="constant",
    target_modules="to_q,to_k,to_v,to_out.0",
    evaluation_batch_size=2,
)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> DreamBooth:
    found = create_task("dreambooth-3d-icons", data=save_pictures(tmp_path_factory.mktemp("pictures")))
    assert isinstance(found, DreamBooth)
    return found


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DreamBooth, "sampling_steps", 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sdxl(tmp_path_factory.mktemp("sdxl"))


def opened(folder: Path, **options: Any) -> tuple[Any, LatentTextToImage]:
    unet, architecture = open_model(folder, device=CPU, options=LoadOptions(**options))
    assert isinstance(architecture, LatentTextToImage)
    return unet, architecture


def trained(spec: RunSpec, folder: Path, task: DreamBooth, place: Path) -> tuple[TrainedRun, LatentTextToImage]:
    unet, architecture = opened(folder, dtype=spec.dtype)
    rows = {split: architecture.rows(task, task.examples(split)) for split in ("train", "validation")}
    run = train(
        spec,
        unet,
        architecture=architecture,
        train_rows=rows["train"],
        validation_rows=rows["validation"],
        folder=place,
        update=lambda fraction, note: None,
    )
    return run, architecture


def test_rows_hold_latents_prompts_and_sizes(folder: Path, task: DreamBooth) -> None:
    _, architecture = opened(folder)
    rows = architecture.rows(task, task.examples("train"))
    assert len(rows) == 4
    assert {name: tuple(value.shape) for name, value in rows[0].items()} == {
        "clean": (4, SIDE // 2, SIDE // 2),
        "text": (77, 28),
        "pooled": (10,),
        "numbers": (6,),
    }
    for row in rows:
        height, width, top, left, *wanted = row["numbers"].tolist()
        # Made 16 on the shorter side and cut in the middle.
        assert height == 24
        assert 20 <= width <= 25
        assert top == round((SIDE * 24 // min(24, width) - SIDE) / 2)
        assert left == round((SIDE * width // min(24, width) - SIDE) / 2)
        assert wanted == [SIDE, SIDE]


@pytest.mark.parametrize("predicts", ["epsilon", "v_prediction"])
def test_the_loss_is_that_of_diffusers_script(tmp_path: Path, task: DreamBooth, predicts: str) -> None:
    pipeline = tiny_sdxl(predicts=predicts)
    unet, architecture = opened(save_sdxl(tmp_path, pipeline))
    batch = architecture.collator(seed=3)(architecture.rows(task, task.examples("train"))[:3])
    schedule = DDPMScheduler.from_config(pipeline.scheduler.config)
    noisy = schedule.add_noise(batch["clean"], batch["noise"], batch["steps"])
    with torch.no_grad():
        found = pipeline.unet(
            noisy,
            batch["steps"],
            encoder_hidden_states=batch["text"],
            added_cond_kwargs={"text_embeds": batch["pooled"], "time_ids": batch["numbers"]},
        ).sample
        wanted = {
            "epsilon": batch["noise"],
            "v_prediction": schedule.get_velocity(batch["clean"], batch["noise"], batch["steps"]),
        }[predicts]
        assert unet(**batch).loss.item() == pytest.approx(mse_loss(found, wanted).item(), rel=1e-5)
    assert architecture.loss_kind == {"epsilon": "noise", "v_prediction": "denoising"}[predicts]


def test_radius_zero_is_lora(folder: Path, task: DreamBooth, tmp_path: Path) -> None:
    plain, _ = trained(SPEC, folder, task, tmp_path / "lora")
    names = [name for name, _ in plain.model.named_parameters() if "lora_" in name]
    wanted = flat_weights(plain.model, names)
    moved = flat_weights(plain.model, [name for name in names if "lora_B" in name]).norm()
    assert moved > 0.1
    for method in ("lora-sam", "bilora"):
        found, _ = trained(replace(SPEC, method=method, options={"rho": 0.0}), folder, task, tmp_path / method)
        # AdamW makes a whole step of the sign of a gradient that is zero but for rounding.
        assert (flat_weights(found.model, names) - wanted).norm() < 1e-3 * moved


def flat_weights(model: Any, names: list[str]) -> torch.Tensor:
    parameters = dict(model.named_parameters())
    return torch.cat([parameters[name].detach().flatten() for name in names])


def test_a_bfloat16_base_trains_float32_factors(folder: Path, task: DreamBooth, tmp_path: Path) -> None:
    run, _ = trained(replace(SPEC, method="bilora", options={"rho": 0.05}, dtype="bfloat16"), folder, task, tmp_path)
    kinds = {True: set[torch.dtype](), False: set[torch.dtype]()}
    for name, parameter in run.model.named_parameters():
        kinds["lora_" in name].add(parameter.dtype)
    assert kinds == {True: {torch.float32}, False: {torch.bfloat16}}
    assert all(np.isfinite(record["loss"]) for record in run.history if "loss" in record)


def test_an_exported_adapter_draws_the_same_picture_in_a_pipeline(
    folder: Path, task: DreamBooth, tmp_path: Path
) -> None:
    run, architecture = trained(replace(SPEC, method="bilora", options={"rho": 0.05}), folder, task, tmp_path / "t")
    run.method.export(tmp_path / "adapter")
    architecture.exported(tmp_path / "adapter")
    run.model.eval()
    with run.method.evaluation():
        drawn = architecture.drawn(run.model, task, on_progress=lambda fraction: None)
    pipeline = StableDiffusionXLPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)

    def by_pipeline() -> np.ndarray[Any, Any]:
        latents = torch.randn(1, 4, SIDE // 2, SIDE // 2, generator=torch.Generator().manual_seed(1))
        given = {"num_inference_steps": task.sampling_steps, "guidance_scale": task.guidance, "output_type": "np"}
        shown = pipeline(drawn.prompts[1], height=SIDE, width=SIDE, latents=latents, **given).images[0]
        return np.asarray(np.round(shown.transpose(2, 0, 1) * 255), dtype=np.int64)

    without = by_pipeline()
    pipeline.load_lora_weights(tmp_path / "adapter", weight_name="pytorch_lora_weights.safetensors")
    assert np.abs(by_pipeline() - drawn.pictures[1]).max() <= 1
    assert np.abs(without - drawn.pictures[1]).max() > 1
    assert drawn.titles[:2] == ("fluffy rabbit", "curly cloud")
    assert len(drawn.pictures) == SHOWN


def test_without_a_judge_held_out_pictures_are_scored_by_their_loss(folder: Path, task: DreamBooth) -> None:
    unet, architecture = opened(folder, evaluation_batch_size=3)
    examples = task.examples("train")
    found = architecture.score(unet, task, examples)
    rows = architecture.rows(task, examples)
    assert [e.index for e in found] == [0, 1, 2, 3]
    assert architecture.metric(task) == "noise explained"
    batches = architecture.batches(rows, size=1)
    assert len(batches) == len(rows) * DRAWS
    with torch.no_grad():
        losses = [unet(**batch).loss.item() for batch in batches]
    for index, example in enumerate(found):
        assert example.score == pytest.approx(1 - np.mean(losses[index :: len(rows)]), rel=1e-5)
    mean = architecture.objective(unet, rows, size=4).value()
    assert np.mean([e.score for e in found]) == pytest.approx(1 - mean, rel=1e-5)


def test_with_a_judge_unseen_things_are_drawn_and_scored(folder: Path, task: DreamBooth, tmp_path: Path) -> None:
    clip, blip = str(save_clip(tmp_path / "clip")), str(save_captioner(tmp_path / "blip"))
    unet, architecture = opened(folder, clip_model=clip, caption_model=blip)
    asked = architecture.asked(task, "test")
    assert len(asked) == 1200
    assert {e.prompt for e in asked[:6]} == {e.prompt for e in asked}
    found = architecture.score(unet, task, asked[:2])
    assert [e.prompt for e in found] == [
        "a ToK icon of a fluffy rabbit, in the style of ToK",
        "a ToK icon of a curly cloud, in the style of ToK",
    ]
    for example in found:
        assert set(example.parts) == {"I2T", "T2T"}
        assert example.score == example.parts["I2T"]
        assert -1 <= example.parts["T2T"] <= 1
    assert {e.prompt for e in architecture.asked(task, "train")} == {task.instance_prompt}
    assert not {e.prompt for e in architecture.asked(task, "validation")} & {e.prompt for e in asked}
    with_clip_alone = opened(folder, clip_model=clip)[1].score(unet, task, asked[:1])[0]
    assert dict(with_clip_alone.parts) == {"I2T": pytest.approx(found[0].parts["I2T"], abs=1e-5)}
    assert cast("str", with_clip_alone.generated) == ""
