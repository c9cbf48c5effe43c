from __future__ import annotations

from torch import nn

from benchmarks.pocket.pictures.words import EOS
from benchmarks.pocket.sdxl_architecture import POCKET_SDXL, SMOKE_SDXL, build_text_encoder, build_unet


def test_the_unet_has_the_structure_of_sdxl() -> None:
    unet = build_unet(POCKET_SDXL)
    assert [type(block).__name__ for block in unet.down_blocks] == [
        "DownBlock2D",
        "CrossAttnDownBlock2D",
        "CrossAttnDownBlock2D",
    ]
    assert unet.config["addition_embed_type"] == "text_time"
    depths = [len(block.attentions[0].transformer_blocks) for block in unet.down_blocks[1:]]
    assert depths == [1, 2]
    assert len(unet.mid_block.attentions[0].transformer_blocks) == 2
    assert 5e6 < sum(p.numel() for p in unet.parameters()) < 7e6


def test_attention_has_as_many_heads_as_the_shape_says() -> None:
    unet = build_unet(SMOKE_SDXL)
    heads = {m.heads for m in unet.modules() if type(m).__name__ == "Attention"}
    assert heads == {1}
    wide = {m.heads for m in build_unet(POCKET_SDXL).modules() if type(m).__name__ == "Attention"}
    assert wide == {3, 4}


def test_the_text_encoder_reads_at_the_end_token() -> None:
    encoder = build_text_encoder(SMOKE_SDXL)
    assert encoder.config.eos_token_id == EOS
    assert isinstance(encoder.text_projection, nn.Linear)
