"""`python -m benchmarks.diffusion.drawing_cost`: seconds that SDXL takes for a picture, with an adapter on its UNet.

Weights are random, in SDXL's own shape: time and memory are the same. Drawing is timed as a comparison does it, with
the UNet's pass replayed as a CUDA graph on a GPU, and beside that as Python launches it.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler
from peft import LoraConfig
from torch import Tensor

from benchmarks import parsing
from benchmarks.diffusion.latent_sampling import denoise, picture_numbers
from benchmarks.diffusion.prompts import Prompts
from benchmarks.diffusion.replay import Replayed
from benchmarks.diffusion.sdxl import Latents
from benchmarks.diffusion.unet import TARGET_MODULES, DenoisingUNet
from benchmarks.environment import environment, synchronize
from benchmarks.errors import UsageError
from benchmarks.flags import read_flags, read_out
from benchmarks.model_shapes import SHAPES
from benchmarks.one_line_parser import OneLineParser
from benchmarks.written import write_json
from bilora import attach
from bilora.fused import fuse_adapters

WORDS = 77
# Of one latent of the autoencoder, on a side.
_PIXELS = 8


@dataclass(frozen=True, kw_only=True)
class DrawingCost:
    """Seconds of a picture.

    Attributes:
        path: "replayed" or "called".
        side: Of the picture, in pixels.
        steps: Of the sampler, each on two rows for guidance.
        first_seconds: Of the first picture's sampling, recording included.
        seconds: Of sampling, median over the others.
        decode_seconds: Of the autoencoder, float32, median over the others.
        peak_gb: Peak of allocated GPU memory, 1e9 bytes, all weights included; None on the CPU.
    """

    path: str
    side: int
    steps: int
    first_seconds: float
    seconds: float
    decode_seconds: float
    peak_gb: float | None


def time_drawing(
    unet: Any, latents: Latents, scheduler: Any, *, side: int, steps: int, pictures: int, device: torch.device
) -> list[DrawingCost]:
    """Time pictures on both paths.

    Args:
        unet: A UNet with an active adapter, in evaluation mode.
        latents: Its autoencoder, on the device.
        scheduler: Its sampler.
        side: Of the pictures, in pixels.
        steps: Of the sampler.
        pictures: How many, two or more.
        device: Where all of it is.
    """
    config = unet.config
    width = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, WORDS, config.cross_attention_dim, generator=generator).to(device)
    pooled = torch.randn(2, width, generator=generator).to(device)
    asked = Prompts(states, pooled, picture_numbers(side).to(device).repeat(2, 1))
    shape = (1, latents.channels, side // latents.pixels, side // latents.pixels)
    found = []
    paths: dict[str, Callable[..., Tensor]] = {"replayed": Replayed(unet.predict), "called": unet.predict}
    for path, predict in paths.items():
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        sampling, decoding = [], []
        for number in range(pictures):
            noise = torch.randn(shape, generator=torch.Generator().manual_seed(number))
            started = time.perf_counter()
            drawn = denoise(predict, scheduler, asked, noise, count=steps, guidance=5.0)
            synchronize(device)
            sampling.append(time.perf_counter() - started)
            started = time.perf_counter()
            latents.decode(drawn[0])
            decoding.append(time.perf_counter() - started)
        found.append(
            DrawingCost(
                path=path,
                side=side,
                steps=steps,
                first_seconds=sampling[0],
                seconds=statistics.median(sampling[1:]),
                decode_seconds=statistics.median(decoding[1:]),
                peak_gb=torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None,
            )
        )
    return found


def random_sdxl(device: torch.device, dtype: torch.dtype) -> tuple[DenoisingUNet, Latents]:
    """Return UNet and autoencoder of SDXL base 1.0 in shape, with random weights, on a device."""
    shape: Any = SHAPES["sdxl-unet"].empty(dtype)
    torch.manual_seed(0)
    with device:
        unet = DenoisingUNet.from_config(shape.unet.config).to(dtype).eval()
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
            sample_size=1024,
            scaling_factor=0.13025,
        ).eval()
    return unet, Latents(vae, device=device)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command on the GPU if there is one; returns its exit code: 0, or 2 for bad input."""
    parser = OneLineParser(prog="python -m benchmarks.diffusion.drawing_cost", description=__doc__.split("\n\n")[1])
    parser.add_argument("--pictures", default="4", help="two or more (default: %(default)s)")
    parser.add_argument("--steps", default="25", help="of the sampler (default: %(default)s)")
    parser.add_argument("--side", default="1024", help="of the pictures, in pixels (default: %(default)s)")
    parser.add_argument("--out", default=None, metavar="FILE.json", help="also write what is printed")
    try:
        options = parser.parse_args(arguments)
        # The first picture of a path is timed by itself.
        readers = {"pictures": parsing.integer(minimum=2), "steps": parsing.integer(minimum=1), "side": _side}
        given, out = read_flags(options, readers), read_out(options)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    unet, latents = random_sdxl(device, torch.bfloat16 if device.type == "cuda" else torch.float32)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=list(TARGET_MODULES))
    model, method = attach(unet, config, method="lora")
    fuse_adapters(model)
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1
    )
    with method.evaluation():
        costs = time_drawing(
            model.eval(),
            latents,
            scheduler,
            device=device,
            **given,
        )
    for cost in costs:
        print(cost)
    if out is not None:
        write_json(out, {"environment": environment(device), "records": [asdict(cost) for cost in costs]})
    return 0


def _side(raw: Any) -> int:
    """Read a side in pixels, which is one of whole latents."""
    value = int(parsing.integer(minimum=_PIXELS)(raw))
    if value % _PIXELS:
        raise ValueError(f"a multiple of {_PIXELS}")
    return value


if __name__ == "__main__":
    sys.exit(main())
