"""Text-to-image models in a comparison: rows of pictures and prompts, noise drawn for batches, sampled answers.

In training every picture meets fresh noise at a random step, drawn from a generator of the run's seed: all methods see
the same noise, and a method's second pass the same as its first. An evaluation is deterministic instead: every picture
has noises of its own, at steps that spread evenly over the schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from benchmarks.architecture import Architecture, Batch, Collator, Row
from benchmarks.diffusion.noise import STEPS
from benchmarks.diffusion.pixels import to_places
from benchmarks.diffusion.prompts import PromptEncoder
from benchmarks.diffusion.sampling import picture_noise, sample_pictures
from benchmarks.diffusion.unet import TARGET_MODULES, denoising_loss
from benchmarks.scoring import ScoredExample
from benchmarks.tasks import Example, Task
from benchmarks.tasks.pictures import PictureTask


class NoisyBatch:
    """Collates rows into a batch of clean pictures with fresh noise and random steps.

    Args:
        seed: Of noise and steps.
        steps: Steps of the noise schedule.
        skipped: Rows whose noise and steps have been used already.
    """

    def __init__(self, seed: int, *, steps: int = STEPS, skipped: int = 0) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._steps = steps
        self._skipped = skipped

    def _draw(self, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        noise = torch.randn(tuple(shape), generator=self._generator)
        return noise, torch.randint(0, self._steps, (), generator=self._generator)

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Return a batch as `DenoisingUNet.forward` takes it."""
        # Row by row, so that micro-batches see what a whole batch would.
        # Rows are equally large, so that the first one says what went before it.
        for _ in range(self._skipped):
            self._draw(rows[0]["clean"].shape)
        self._skipped = 0
        drawn = [self._draw(row["clean"].shape) for row in rows]
        return _batch(rows, torch.stack([noise for noise, _ in drawn]), torch.stack([step for _, step in drawn]))


def evaluation_step(index: int, draw: int, *, rows: int, draws: int, steps: int = STEPS) -> int:
    """Return the step at which a row meets one of its noises: all of them together are spread evenly."""
    return int(steps * (draw + (index + 0.5) / rows) / draws)


def _batch(rows: Sequence[Row], noise: Tensor, steps: Tensor) -> Batch:
    joined = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    return joined | {"noise": noise, "steps": steps}


class TextToImage(Architecture):
    """A UNet with the encoder of its prompts.

    Args:
        config: Configuration of the UNet.
        encode: Its prompts.
        draws: Noises that each picture is evaluated with, where not once is asked for.
    """

    task_type = None
    loss = staticmethod(denoising_loss)
    loss_kind = "denoising"
    #: Of the noise schedule.
    steps = STEPS

    def __init__(self, config: Any, encode: PromptEncoder, *, draws: int = 4) -> None:
        self.target_modules = list(TARGET_MODULES)
        self._shape = (config["in_channels"], config["sample_size"], config["sample_size"])
        self._encode, self._draws = encode, draws

    def rows(self, task: Task, examples: Sequence[Example]) -> list[Row]:
        """See `Architecture.rows`: a picture in the network's form, and its encoded prompt."""
        prompts = self._encode([example.prompt for example in examples])
        pictures = torch.from_numpy(cast("PictureTask", task).pictures(examples))
        parts = {"clean": to_places(pictures), **{name: v.cpu() for name, v in vars(prompts).items()}}
        return [{name: values[index] for name, values in parts.items()} for index in range(len(examples))]

    def collator(self, *, seed: int, multiple: int = 1, skipped: int = 0) -> Collator:
        """See `Architecture.collator`: noise and steps are drawn; pictures are equally large."""
        return NoisyBatch(seed, steps=self.steps, skipped=skipped)

    def batches(self, rows: Sequence[Row], *, size: int, once: bool = False) -> list[Batch]:
        """See `Architecture.batches`: every row with `draws` noises, or with one."""
        draws = 1 if once else self._draws
        found = []
        for draw in range(draws):
            for start in range(0, len(rows), size):
                part = range(start, min(start + size, len(rows)))
                noise = torch.stack([picture_noise(draws * index + draw, self._shape) for index in part])
                steps = [evaluation_step(index, draw, rows=len(rows), draws=draws, steps=self.steps) for index in part]
                found.append(_batch([rows[index] for index in part], noise, torch.tensor(steps)))
        return found

    def score(
        self,
        model: Any,
        task: Task,
        examples: Sequence[Example],
        *,
        on_progress: Callable[[float], None] = lambda fraction: None,
    ) -> list[ScoredExample]:
        """See `Architecture.score`: a picture is sampled for every prompt, its number the example's."""
        pictured = cast("PictureTask", task)
        drawn = sample_pictures(
            model,
            self._encode,
            [example.prompt for example in examples],
            list(range(len(examples))),
            count=pictured.sampling_steps,
            guidance=pictured.guidance,
            on_progress=on_progress,
        )
        return pictured.judged(examples, drawn)
