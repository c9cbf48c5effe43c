"""The shape of `pocket-sdxl`: a UNet with SDXL's structure and its text encoder, built by diffusers and transformers.

As SDXL's (Podell et al. 2023, arXiv 2307.01952): one block without attention, then blocks with transformers, twice as
deep in the lowest; cross-attention to the prompt's states; the pooled prompt and the six numbers of size and crop added
to the time embedding. The sizes are set by what a LoRA step may cost on two CPU cores.
"""

from __future__ import annotations

from dataclasses import dataclass

from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from benchmarks.diffusion.pixels import PATCH
from benchmarks.diffusion.unet import DenoisingUNet
from benchmarks.pocket.pictures.rows import CHANNELS, NUMBERS
from benchmarks.pocket.pictures.scene import SIDE
from benchmarks.pocket.pictures.words import BOS, EOS, LENGTH, PAD, vocabulary


@dataclass(frozen=True, kw_only=True)
class SdxlShape:
    """Widths and depths of a text-to-image base.

    Attributes:
        channels: Of the UNet's three resolutions; multiples of `groups`.
        transformers: Depth of the transformers at each of them (the first has none).
        heads: Attention heads at each of them.
        groups: Of the group norms.
        numbers: Width of the embedding of each number of the micro-conditioning.
        text: Width of the text encoder.
        text_layers: Its depth.
        text_heads: Its attention heads.
    """

    channels: tuple[int, int, int] = (64, 96, 112)
    transformers: tuple[int, int, int] = (1, 1, 2)
    heads: tuple[int, int, int] = (2, 3, 4)
    groups: int = 16
    numbers: int = 16
    text: int = 128
    text_layers: int = 2
    text_heads: int = 4


POCKET_SDXL = SdxlShape()
#: For trying the recipe out: seconds on a CPU, no useful model.
SMOKE_SDXL = SdxlShape(
    channels=(16, 16, 16),
    transformers=(1, 1, 1),
    heads=(1, 1, 1),
    groups=8,
    numbers=4,
    text=16,
    text_layers=1,
    text_heads=2,
)


def build_unet(shape: SdxlShape) -> DenoisingUNet:
    """Build a UNet with random weights (fp32) from torch's global random state."""
    unet: DenoisingUNet = DenoisingUNet(
        sample_size=SIDE // PATCH,
        in_channels=CHANNELS * PATCH**2,
        out_channels=CHANNELS * PATCH**2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=shape.channels,
        layers_per_block=1,
        transformer_layers_per_block=shape.transformers,
        # The number of heads, whatever diffusers calls it.
        attention_head_dim=shape.heads,
        norm_num_groups=shape.groups,
        cross_attention_dim=shape.text,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=shape.numbers,
        projection_class_embeddings_input_dim=shape.text + NUMBERS * shape.numbers,
    )
    return unet


def build_text_encoder(shape: SdxlShape) -> CLIPTextModelWithProjection:
    """Build a text encoder with random weights (fp32) from torch's global random state."""
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=len(vocabulary()),
            hidden_size=shape.text,
            intermediate_size=4 * shape.text,
            projection_dim=shape.text,
            num_hidden_layers=shape.text_layers,
            num_attention_heads=shape.text_heads,
            max_position_embeddings=LENGTH,
            pad_token_id=PAD,
            bos_token_id=BOS,
            eos_token_id=EOS,
        )
    )
