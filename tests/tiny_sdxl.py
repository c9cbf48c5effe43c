"""An SDXL with random weights in a folder as it lies on the hub, a CLIP model, a captioner, and a few pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from PIL import Image
from tokenizers import pre_tokenizers
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

WORDS = 77
#: Pixels of a side; the autoencoder makes half as many latents.
SIDE = 16


def clip_tokenizer(**more: Any) -> CLIPTokenizer:
    """One token a letter, as in CLIP: with a mark at the end of words."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: place for place, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=WORDS, **more)


def save_clip_tokenizer(folder: Path, **more: Any) -> None:
    """Write a tokenizer in the two files that CLIP's has on the hub."""
    tokenizer = clip_tokenizer(**more)
    tokenizer.save_pretrained(folder)
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(tokenizer.get_vocab()))
    (folder / "merges.txt").write_text("#version: 0.2\n")


def text_config(width: int, projection: int) -> CLIPTextConfig:
    tokenizer = clip_tokenizer()
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=WORDS,
        projection_dim=projection,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def tiny_unet_config(**changed: Any) -> dict[str, Any]:
    """SDXL's UNet with two blocks instead of three, each as narrow as it gets."""
    return {
        "sample_size": SIDE // 2,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "block_out_channels": (8, 16),
        "norm_num_groups": 4,
        "layers_per_block": 1,
        "attention_head_dim": (1, 2),
        "transformer_layers_per_block": (1, 2),
        "cross_attention_dim": 12 + 16,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 4,
        "projection_class_embeddings_input_dim": 10 + 6 * 4,
        "use_linear_projection": True,
    } | changed


def tiny_sdxl(*, predicts: str = "epsilon", seed: int = 0, **unet: Any) -> StableDiffusionXLPipeline:
    torch.manual_seed(seed)
    vae = AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=4,
        norm_num_groups=4,
        sample_size=SIDE,
        scaling_factor=0.13025,
    )
    return StableDiffusionXLPipeline(
        vae=vae.eval(),
        text_encoder=CLIPTextModel(text_config(12, 12)).eval(),
        text_encoder_2=CLIPTextModelWithProjection(text_config(16, 10)).eval(),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(pad_token="!</w>"),
        unet=UNet2DConditionModel(**tiny_unet_config(**unet)).eval(),
        # As in SDXL base 1.0.
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            timestep_spacing="leading",
            steps_offset=1,
            prediction_type=predicts,
        ),
    )


def save_sdxl(folder: Path, pipeline: StableDiffusionXLPipeline | None = None) -> Path:
    (pipeline or tiny_sdxl()).save_pretrained(folder)
    save_clip_tokenizer(folder / "tokenizer")
    save_clip_tokenizer(folder / "tokenizer_2", pad_token="!</w>")
    return folder


def save_clip(folder: Path) -> Path:
    torch.manual_seed(1)
    vision = {
        "hidden_size": 12,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 8,
    }
    config = CLIPConfig(text_config=text_config(12, 8).to_dict(), vision_config=vision, projection_dim=8)
    CLIPModel(config).save_pretrained(folder)
    save_clip_tokenizer(folder)
    framing = {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 16},
        "crop_size": {"height": 16, "width": 16},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(framing))
    return folder


def save_captioner(folder: Path) -> Path:
    """Write a BLIP."""
    torch.manual_seed(2)
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    tokens += ["[DEC]", "[ENC]"]
    sizes = {"hidden_size": 12, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {
        "vocab_size": len(tokens),
        "encoder_hidden_size": 12,
        "projection_dim": 8,
        "max_position_embeddings": 64,
        "bos_token_id": tokens.index("[DEC]"),
        "eos_token_id": 3,
        "sep_token_id": 3,
        "pad_token_id": 0,
    }
    config = BlipConfig(
        text_config=sizes | text, vision_config=sizes | {"image_size": 16, "patch_size": 8}, projection_dim=8
    )
    BlipForConditionalGeneration(config).save_pretrained(folder)
    tokenizer = BertTokenizer(vocab={token: place for place, token in enumerate(tokens)}, model_max_length=64)
    tokenizer.save_pretrained(folder)
    framing = {"image_processor_type": "BlipImageProcessor", "size": {"height": 16, "width": 16}}
    (folder / "preprocessor_config.json").write_text(json.dumps(framing | {"processor_class": "BlipProcessor"}))
    return folder


def picture(number: int, *, width: int = 20, height: int = 24) -> Image.Image:
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def save_pictures(folder: Path, *, count: int = 6) -> Path:
    """Write pictures of several sizes, formats in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        ending = ("png", "jpg", "webp")[number % 3]
        picture(number, width=20 + number).save(folder / f"{number:02d}.{ending}")
    return folder
