from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig, PeftModel, get_peft_model

from analysis import FlatnessSettings, Objective, measure_flatness
from benchmarks.diffusion.noise import noised, signal_shares, velocity
from benchmarks.diffusion.unet import TARGET_MODULES, denoising_loss
from bilora import attach
from tests.tiny_pictures import tiny_batch, tiny_unet


def test_the_loss_is_that_of_the_velocity_which_diffusers_own_unet_predicts(tmp_path: Path) -> None:
    unet, batch = tiny_unet(), tiny_batch()
    unet.save_pretrained(tmp_path)
    plain = UNet2DConditionModel.from_pretrained(tmp_path, low_cpu_mem_usage=False).eval()
    shares = signal_shares()
    with torch.no_grad():
        found = plain(
            noised(batch["clean"], batch["noise"], batch["steps"], shares),
            batch["steps"],
            encoder_hidden_states=batch["text"],
            added_cond_kwargs={"text_embeds": batch["pooled"], "time_ids": batch["numbers"]},
        ).sample
        errors = (found - velocity(batch["clean"], batch["noise"], batch["steps"], shares)).square()
        assert unet(**batch).loss.item() == pytest.approx(errors.mean().item(), rel=1e-5)
        total, count = denoising_loss(unet, batch)
    assert count == 4
    assert total.item() == pytest.approx(errors.mean(dim=(1, 2, 3)).sum().item(), rel=1e-5)


def test_lora_stands_on_the_four_projections_of_every_attention_alone() -> None:
    unet = tiny_unet()
    attentions = [name for name, module in unet.named_modules() if name.endswith(("attn1", "attn2"))]
    adapted = get_peft_model(unet, LoraConfig(r=2, target_modules=TARGET_MODULES))
    names = {name.rsplit(".lora_A", 1)[0] for name, _ in adapted.named_modules() if name.endswith("lora_A.default")}
    assert names == {f"base_model.model.{name}.{part}" for name in attentions for part in TARGET_MODULES}


def test_an_exported_adapter_fits_a_plain_unet(tmp_path: Path) -> None:
    model, method = attach(tiny_unet(), LoraConfig(r=2, target_modules=TARGET_MODULES), method="bilora")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=1.0)
    method.export(tmp_path / "adapter")
    batch = tiny_batch()
    with torch.no_grad(), method.evaluation():
        own = model(**batch).loss.item()
    again = PeftModel.from_pretrained(tiny_unet(), tmp_path / "adapter").eval()
    with torch.no_grad():
        assert again(**batch).loss.item() == pytest.approx(own, rel=1e-5)
        assert tiny_unet()(**batch).loss.item() != pytest.approx(own, rel=1e-3)


@pytest.mark.slow
def test_curvature_of_the_denoising_loss_is_that_of_finite_differences() -> None:
    layer = "mid_block.attentions.0.transformer_blocks.0.attn2.to_v"
    model = get_peft_model(tiny_unet(), LoraConfig(r=2, target_modules=[layer])).double().eval()
    batch = {name: v.double() if v.is_floating_point() else v for name, v in tiny_batch(2).items()}
    objective = Objective(model, [batch], loss=denoising_loss)
    settings = FlatnessSettings(spaces=("full",), top=2, bottom=1, tolerance=1e-8, max_products=250)
    found = measure_flatness(objective, model, settings).spaces["full"]
    weight = model.get_submodule(f"base_model.model.{layer}").base_layer.weight.requires_grad_(True)

    def gradient(place: int, step: float) -> torch.Tensor:
        with torch.no_grad():
            weight.view(-1)[place] += step
        (found,) = torch.autograd.grad(model(**batch).loss, weight)
        with torch.no_grad():
            weight.view(-1)[place] -= step
        return found.flatten()

    columns = [(gradient(k, 1e-4) - gradient(k, -1e-4)) / 2e-4 for k in range(weight.numel())]
    hessian = torch.stack(columns)
    values = torch.linalg.eigvalsh((hessian + hessian.T) / 2)
    assert [pair.value for pair in found.top] == pytest.approx(values[[-1, -2]].tolist(), rel=1e-4)
    assert found.bottom[0].value == pytest.approx(values[0].item(), rel=1e-3, abs=1e-10)
