from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model

from benchmarks.model_shapes import SHAPES, DenoisingLoss, ModelShape
from bilora.compiled import repeated_layers

# What the models' own pages state.
PARAMETERS = {
    "llama-2-7b": 6_738_415_616,
    "llama-3.1-8b": 8_030_261_248,
    "qwen2.5-14b": 14_770_033_664,
    "t5-base": 222_903_552,
    "sdxl-unet": 2_567_463_684,
}


@pytest.mark.parametrize("name", list(SHAPES))
def test_shapes_have_the_published_numbers_of_parameters(name: str) -> None:
    if name == "sdxl-unet":
        pytest.importorskip("diffusers")
    model = SHAPES[name].empty(torch.bfloat16)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", list(SHAPES))
def test_repeated_layers_are_the_blocks_that_are_named(name: str) -> None:
    if name == "sdxl-unet":
        pytest.importorskip("diffusers")
    shape = SHAPES[name]
    with torch.device("meta"):
        config = LoraConfig(r=8, target_modules=list(shape.target_modules))
        model = get_peft_model(shape.empty(torch.bfloat16, layers=2), config)  # type: ignore[arg-type]
    assert {type(layer).__name__ for layer in repeated_layers(model)} == {shape.block}


def test_cut_shapes_train() -> None:
    pytest.importorskip("diffusers")
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(32, 64),
        attention_head_dim=(2, 4),
        cross_attention_dim=2048,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
        use_linear_projection=True,
        layers_per_block=1,
    )
    shape: ModelShape = SHAPES["sdxl-unet"]
    batch = shape.batch(2, 64, torch.Generator().manual_seed(0))
    loss = DenoisingLoss(unet)(**batch).loss
    loss.backward()
    assert loss.item() == pytest.approx(2.0, rel=0.5)  # noise against an untrained guess
    assert unet.conv_in.weight.grad.norm() > 0
