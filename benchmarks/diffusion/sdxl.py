"""Opens SDXL from its folder: the UNet that is trained, and what stands around it frozen.

The UNet has the type that is asked for, bfloat16 for one of 2.6 billion weights. The autoencoder is float32: SDXL's
overflows in float16, and rounds what it draws in bfloat16. Nothing around the UNet is trained, so that pictures and
prompts are encoded once, before the first step; in between, those parts lie on the CPU and leave the device's memory
to training.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, DDPMScheduler
from torch import Tensor, nn
from transformers import AutoTokenizer, CLIPTextModel, CLIPTextModelWithProjection

from benchmarks.diffusion.unet import DenoisingUNet
from benchmarks.errors import UsageError, nearest, shortened
from benchmarks.sdxl_layout import SCHEDULER, SCHEDULER_FILE, TEXT_ENCODERS, TOKENIZERS, UNET, VAE, read_part

_FILES: dict[str, Any] = {"use_safetensors": True, "local_files_only": True}


@contextmanager
def working_on(device: torch.device, *modules: nn.Module) -> Iterator[None]:
    """Have modules on a device for a while, and on the CPU afterwards."""
    for module in modules:
        module.to(device)
    try:
        yield
    finally:
        for module in modules:
            module.to("cpu")


class SdxlPrompts:
    """SDXL's two text encoders, whose last states but one are read side by side; the second one gives the vector.

    Every prompt is encoded once and kept on the CPU.

    Args:
        tokenizers: Of both encoders.
        encoders: A `CLIPTextModel` and a `CLIPTextModelWithProjection`, float32.
        device: Where they work.
        empty_is_zero: Whether guidance leads away from zeros instead of the encoded empty prompt.
    """

    def __init__(
        self, tokenizers: tuple[Any, Any], encoders: tuple[Any, Any], *, device: torch.device, empty_is_zero: bool
    ) -> None:
        self.tokenizers, self.encoders, self.device = tokenizers, encoders, device
        self.empty_is_zero = empty_is_zero
        self._known: dict[str, tuple[Tensor, Tensor]] = {}

    def read(self, texts: Iterable[str]) -> None:
        """Encode what has not been; several prompts at once, since the encoders go to the device for it."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            with working_on(self.device, *self.encoders):
                self._known |= {text: self._encode(text) for text in new}

    def encode(self, text: str) -> tuple[Tensor, Tensor]:
        """Return the states of a prompt (words, width) and its vector (width,), float32 on the CPU."""
        self.read([text])
        return self._known[text]

    def _encode(self, text: str) -> tuple[Tensor, Tensor]:
        states, pooled = [], torch.empty(0)
        for tokenizer, encoder in zip(self.tokenizers, self.encoders, strict=True):
            size = tokenizer.model_max_length
            tokens = tokenizer([text], padding="max_length", max_length=size, truncation=True)["input_ids"]
            with torch.no_grad():
                found = encoder(torch.tensor(tokens, device=self.device), output_hidden_states=True)
            states.append(found.hidden_states[-2][0])
            # The first encoder has no projection.
            pooled = found[0][0]
        return torch.cat(states, dim=-1).cpu(), pooled.cpu()

    def unguided(self) -> tuple[Tensor, Tensor]:
        """Return what guidance leads away from, shaped as in `encode`."""
        states, pooled = self.encode("")
        return (torch.zeros_like(states), torch.zeros_like(pooled)) if self.empty_is_zero else (states, pooled)


class Latents:
    """SDXL's autoencoder as a map from pixels to the scale that the UNet works in, and back.

    A picture's latents are the mean of what the encoder gives, so that they can be kept.

    Args:
        vae: An `AutoencoderKL`, float32.
        device: Where it works.
    """

    def __init__(self, vae: Any, *, device: torch.device) -> None:
        self.vae, self.device = vae, device
        config = vae.config
        self.channels = int(config.latent_channels)
        self.pixels = int(2 ** (len(config.block_out_channels) - 1))
        mean, spread = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
        shape = (1, self.channels, 1, 1)
        known = mean is not None and spread is not None
        self._mean = torch.tensor(mean).view(shape) if known else torch.zeros(shape)
        self._scale = (torch.tensor(spread).view(shape) if known else torch.ones(shape)) / config.scaling_factor

    def working(self) -> AbstractContextManager[None]:
        """Have the autoencoder on its device, which the other methods ask for."""
        return working_on(self.device, self.vae)

    def encode(self, picture: Tensor) -> Tensor:
        """Return latents (channels, side / pixels, side / pixels) of a picture (3, side, side), on the CPU."""
        values = picture[None].to(self.device).float() / 127.5 - 1.0
        with torch.no_grad():
            mean = self.vae.encode(values).latent_dist.mode().cpu()
        latents: Tensor = (mean - self._mean) / self._scale
        return latents[0]

    def decode(self, latents: Tensor) -> Tensor:
        """Return a picture uint8 (3, side, side) of latents (channels, side / pixels, side / pixels), on the CPU."""
        wanted = latents[None].float().cpu() * self._scale + self._mean
        with torch.no_grad():
            values: Tensor = self.vae.decode(wanted.to(self.device)).sample[0]
        return ((values / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).cpu()


@dataclass(frozen=True, kw_only=True)
class Sdxl:
    """What stands around the UNet.

    Attributes:
        prompts: The text encoders.
        latents: The autoencoder.
        scheduler: The sampler that the model comes with.
        steps: Of the noise schedule in training.
    """

    prompts: SdxlPrompts
    latents: Latents
    scheduler: Any
    steps: int


def load_sdxl(folder: Path, *, device: torch.device, dtype: torch.dtype) -> tuple[DenoisingUNet, Sdxl]:
    """Load a folder that `check_sdxl` found complete; the UNet in evaluation mode on the device.

    Raises:
        OSError: If a part cannot be read.
        UsageError: If its scheduler is none that diffusers has.
        ValueError: If a part cannot be read.
    """
    # First: the schedule is read from the same file, by a class that may fall over the name that stands there.
    sampler = _sampler(folder)
    unet: DenoisingUNet = DenoisingUNet.from_pretrained(folder / UNET, torch_dtype=dtype, **_FILES)
    schedule = DDPMScheduler.from_pretrained(folder, subfolder=SCHEDULER, local_files_only=True)
    unet.use_schedule(schedule.alphas_cumprod, schedule.config.prediction_type)
    vae = AutoencoderKL.from_pretrained(folder / VAE, torch_dtype=torch.float32, **_FILES).eval()
    kinds = (CLIPTextModel, CLIPTextModelWithProjection)
    encoders = tuple(
        kind.from_pretrained(folder / part, dtype=torch.float32, **_FILES).eval()
        for kind, part in zip(kinds, TEXT_ENCODERS, strict=True)
    )
    first, second = (AutoTokenizer.from_pretrained(folder / part, local_files_only=True) for part in TOKENIZERS)
    around = Sdxl(
        prompts=SdxlPrompts(
            (first, second),
            (encoders[0], encoders[1]),
            device=device,
            empty_is_zero=bool(read_part(folder, "").get("force_zeros_for_empty_prompt", True)),
        ),
        latents=Latents(vae, device=device),
        scheduler=sampler,
        steps=int(schedule.config.num_train_timesteps),
    )
    return unet.to(device).eval(), around


def _sampler(folder: Path) -> Any:
    name = read_part(folder, SCHEDULER).get("_class_name")
    kind: Any = getattr(diffusers, str(name), None)
    is_scheduler = inspect.isclass(kind) and issubclass(kind, diffusers.SchedulerMixin)
    if not is_scheduler:
        known = [entry for entry in dir(diffusers) if entry.endswith("Scheduler")]
        raise UsageError(
            f"--model: {folder / SCHEDULER / SCHEDULER_FILE} has _class_name {shortened(name)}; expected a scheduler "
            f"of diffusers {diffusers.__version__}{nearest(str(name), known)}"
        )
    return kind.from_pretrained(folder, subfolder=SCHEDULER, local_files_only=True)
