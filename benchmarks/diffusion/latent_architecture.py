"""SDXL in a comparison: latents and prompts that are encoded once, held-out pictures, and pictures that are drawn.

With a CLIP model what is scored are drawn pictures against their prompts: the score is I2T, its parts I2T and T2T (see
`benchmarks.diffusion.clip`). Without one the score is taken on held-out pictures instead, 1 - loss: noise has variance
one, so that this is the share of it that the network explains (of a velocity, about so). The first pictures of the test
are drawn in either case, for the report.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.architecture import Drawn, Row
from benchmarks.diffusion.architecture import TextToImage
from benchmarks.diffusion.clip import PictureJudge
from benchmarks.diffusion.export import export_for_diffusers
from benchmarks.diffusion.latent_sampling import draw_pictures
from benchmarks.diffusion.sdxl import Sdxl
from benchmarks.diffusion.unet import EPSILON, TARGET_MODULES
from benchmarks.scoring import ScoredExample
from benchmarks.tasks import Example, Split, Task
from benchmarks.tasks.dreambooth import SHOWN, DreamBooth, PictureFile
from benchmarks.tasks.picture_files import framed, read_picture

#: Noises that a held-out picture is evaluated with: there are few pictures.
DRAWS = 8
#: Side of the pictures that are kept of a run, at most.
SHOWN_SIDE = 512


@dataclass(frozen=True, kw_only=True)
class Judges:
    """Folders of the models that judge pictures."""

    clip: Path
    captioner: Path | None = None


class LatentTextToImage(TextToImage):
    """A UNet on latents.

    Args:
        unet: The UNet, for what it predicts.
        around: What stands around it.
        side: Of pictures, in pixels; a multiple of what its autoencoder makes one latent of.
        judges: What judges pictures, or None.
        batch_size: Held-out pictures at a time.
    """

    def __init__(self, unet: Any, around: Sdxl, *, side: int, judges: Judges | None, batch_size: int | None) -> None:
        self.target_modules = list(TARGET_MODULES)
        latents = side // around.latents.pixels
        self._shape = (around.latents.channels, latents, latents)
        self._draws = DRAWS
        self._around, self._side, self._judges = around, side, judges
        self._batch_size = batch_size or 1
        self.steps = around.steps
        self.loss_kind = "noise" if unet.predicts == EPSILON else "denoising"

    def rows(self, task: Task, examples: Sequence[Example]) -> list[Row]:
        """See `Architecture.rows`: the latents of a picture, its encoded prompt, and what is told of its size."""
        files = cast("Sequence[PictureFile]", examples)
        self._around.prompts.read(example.prompt for example in files)
        found = []
        with self._around.latents.working():
            for example in files:
                shown = framed(read_picture(example.content, name=example.completion), self._side)
                text, pooled = self._around.prompts.encode(example.prompt)
                clean = self._around.latents.encode(torch.from_numpy(shown.pixels))
                numbers = torch.tensor(shown.numbers, dtype=torch.float32)
                found.append({"clean": clean, "text": text, "pooled": pooled, "numbers": numbers})
        return found

    def metric(self, task: Task) -> str:
        """See `Architecture.metric`."""
        return task.metric if self._judges is None else "CLIP similarity to the prompt"

    def asked(self, task: Task, split: Split) -> tuple[Example, ...]:
        """See `Architecture.asked`: with a judge, prompts to draw."""
        return task.examples(split) if self._judges is None else cast("DreamBooth", task).wanted(split)

    def score(
        self,
        model: Any,
        task: Task,
        examples: Sequence[Example],
        *,
        on_progress: Callable[[float], None] = lambda fraction: None,
    ) -> list[ScoredExample]:
        """See `Architecture.score`; the number of a picture is its example's."""
        if self._judges is None:
            return self._losses(model, task, examples, on_progress)
        judge = PictureJudge(self._judges.clip, self._judges.captioner, device=_device(model))
        found: list[ScoredExample] = []

        def keep(place: int, picture: NDArray[np.uint8]) -> None:
            example = examples[place]
            verdict = judge(picture, example.prompt)
            parts = {"I2T": verdict.i2t} | ({} if verdict.t2t is None else {"T2T": verdict.t2t})
            found.append(
                ScoredExample.of_one_turn(
                    place, example, generated=verdict.caption or "", score=verdict.i2t, parts=parts
                )
            )

        self._draw(model, cast("DreamBooth", task), examples, keep, on_progress)
        return found

    def drawn(self, model: Any, task: Task, *, on_progress: Callable[[float], None]) -> Drawn:
        """See `Architecture.drawn`: the first test prompts, from the noises that they have in the test."""
        examples = cast("DreamBooth", task).wanted("test")[:SHOWN]
        pictures: list[NDArray[np.uint8]] = []

        def keep(_: int, picture: NDArray[np.uint8]) -> None:
            shown = Image.fromarray(picture.transpose(1, 2, 0))
            shown.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.BOX)
            pictures.append(np.asarray(shown, dtype=np.uint8).transpose(2, 0, 1))

        self._draw(model, cast("DreamBooth", task), examples, keep, on_progress)
        return Drawn(
            pictures=np.stack(pictures),
            prompts=tuple(example.prompt for example in examples),
            titles=tuple(example.completion for example in examples),
        )

    def exported(self, folder: Path) -> None:
        """See `Architecture.exported`: for diffusers' pipelines."""
        export_for_diffusers(folder)

    def _losses(
        self, model: Any, task: Task, examples: Sequence[Example], on_progress: Callable[[float], None]
    ) -> list[ScoredExample]:
        rows = self.rows(task, examples)
        losses = torch.zeros(len(rows), dtype=torch.float64)
        place = 0
        batches = self.batches(rows, size=self._batch_size)
        for batch in batches:
            with torch.inference_mode():
                found = model(**{name: values.to(_device(model)) for name, values in batch.items()})
            errors = (found.prediction.float() - found.wanted.float()).square().flatten(1).mean(1)
            # Rows come in order, once for every noise.
            places = (torch.arange(len(errors)) + place) % len(rows)
            losses.index_add_(0, places, errors.double().cpu() / self._draws)
            place += len(errors)
            on_progress(place / (len(rows) * self._draws))
        return [
            ScoredExample.of_one_turn(index, example, generated="", score=1.0 - losses[index].item())
            for index, example in enumerate(examples)
        ]

    def _draw(
        self,
        model: Any,
        task: DreamBooth,
        examples: Sequence[Example],
        keep: Callable[[int, NDArray[np.uint8]], None],
        on_progress: Callable[[float], None],
    ) -> None:
        draw_pictures(
            model,
            self._around,
            [example.prompt for example in examples],
            list(range(len(examples))),
            side=self._side,
            count=task.sampling_steps,
            guidance=task.guidance,
            keep=keep,
            on_progress=on_progress,
        )


def _device(model: Any) -> torch.device:
    found: torch.device = next(model.parameters()).device
    return found
