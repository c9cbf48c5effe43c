"""`pocket-icons`: twenty-three pictures of a style that the base has never seen, and things it must draw in that style.

The role of DreamBooth on 3D Icons in the Bi-LoRA paper: the style is bound to a rare token (Ruiz et al., CVPR 2023),
the adapter stands on the UNet's attention, and prompts ask for things that none of the training pictures shows. A
picture is right where the shipped judge (`benchmarks.pocket.judge`) names both the thing and the style. The two parts
are reported as well: the style takes the place of CLIP's similarity to the training pictures (I2T), the thing that of
its similarity to the prompt (T2T). Fitting the style costs things: an adapter trained too long draws those it was
trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.pocket import POCKET_MODELS
from benchmarks.pocket.pictures.scene import ICON, PLACES, SIZES, Scene, draw
from benchmarks.pocket.pictures.styles import COLOURS
from benchmarks.tasks.base import SPLITS, Example, Recipe, Split
from benchmarks.tasks.pictures import PictureTask

if TYPE_CHECKING:
    from benchmarks.scoring import ScoredExample

TRAINED = ["circle", "heart", "tree", "fish", "cup", "flag", "umbrella", "balloon", "bolt", "drop"]
VALIDATED = ["triangle", "ring", "house", "arrow", "bell", "car"]
TESTED = ["square", "star", "cross", "diamond", "moon", "mushroom", "boat", "flower", "cloud", "rocket"]
SUBJECTS_OF: dict[Split, list[str]] = {"train": TRAINED, "validation": VALIDATED, "test": TESTED}
#: As many training pictures as 3D Icons has.
SIZES_OF: dict[Split, int] = {"train": 23, "validation": 60, "test": 120}
PROMPT = "a {size} {colour} {subject} {place} in the style of sks"


@dataclass(frozen=True, kw_only=True)
class PictureExample(Example):
    """A prompt, what the judge should name, and the scene that belongs to it."""

    scene: Scene


def _examples(split: Split) -> tuple[PictureExample, ...]:
    rng = Random(f"pocket-icons {split}")
    found = []
    for index in range(SIZES_OF[split]):
        subject = SUBJECTS_OF[split][index % len(SUBJECTS_OF[split])]
        colour, background = rng.sample(tuple(COLOURS), 2)
        scene = Scene(
            subject=subject,
            colour=colour,
            background=background,
            style=ICON,
            size=rng.choice(tuple(SIZES)),
            place=rng.choice(tuple(PLACES)),
        )
        prompt = PROMPT.format(size=scene.size, colour=colour, subject=subject, place=scene.place)
        found.append(PictureExample(prompt=prompt, completion=f"{subject}, {ICON}", scene=scene))
    return tuple(found)


class PocketIcons(PictureTask):
    """Things in the icon style; fidelity to both as a small judge names them."""

    name: ClassVar[str] = "pocket-icons"
    version: ClassVar[str] = "1"
    metric: ClassVar[str] = "fidelity to thing and style"
    base: ClassVar[str] = "pocket-sdxl"
    recipe: ClassVar[Recipe] = Recipe(steps=120, batch_size=4, learning_rate=7e-3, max_new_tokens=0)
    sampling_steps: ClassVar[int] = 10
    guidance: ClassVar[float] = 2.0

    def examples(self, split: Split) -> tuple[Example, ...]:
        """See `Task.examples`."""
        return _examples(split)

    def pictures(self, examples: Sequence[Example]) -> NDArray[np.uint8]:
        """See `PictureTask.pictures`: the scenes, drawn."""
        return np.stack([draw(example.scene) for example in examples if isinstance(example, PictureExample)])

    def score(self, example: Example, generated: str) -> float:
        """Return 1 for the verdict that the example asks for, else 0."""
        return float(generated == example.completion)

    def judged(self, examples: Sequence[Example], drawn: NDArray[np.uint8]) -> list[ScoredExample]:
        """See `PictureTask.judged`: the parts are fidelity to the thing and to the style."""
        from benchmarks.pocket.judge import verdicts
        from benchmarks.scoring import ScoredExample

        found = []
        for index, (subject, style) in enumerate(verdicts(_judge(), drawn)):
            example, generated = examples[index], f"{subject}, {style}"
            thing, look = example.completion.split(", ")
            found.append(
                ScoredExample.of_one_turn(
                    index,
                    example,
                    generated=generated,
                    score=self.score(example, generated),
                    parts={"thing": float(subject == thing), "style": float(style == look)},
                    picture=drawn[index],
                )
            )
        return found

    def fingerprint(self) -> str:
        """Return a hash of all prompts, verdicts and pictures (16 hex digits)."""
        digest = hashlib.sha256()
        for split in SPLITS:
            for example, picture in zip(self.examples(split), self.pictures(self.examples(split)), strict=True):
                digest.update(f"{example.prompt}\n{example.completion}\n".encode())
                digest.update(picture.tobytes())
        return digest.hexdigest()[:16]


@cache
def _judge() -> Any:
    from benchmarks.pocket.judge import load_judge

    return load_judge(POCKET_MODELS / "pocket-sdxl" / "judge")
