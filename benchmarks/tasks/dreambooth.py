"""DreamBooth on a user's pictures and on 3D Icons, the Bi-LoRA paper's task for SDXL.

A style is bound to a rare word (Ruiz et al., CVPR 2023, arXiv 2208.12242): every picture is trained on under one prompt
with that word, and what is drawn are things that no picture shows. 3D Icons are 23 pictures (the data set of
diffusers' own example); the paper (arXiv 2508.19564, section 4.4 and appendix R.4) trains on `a TOK icon, in the style
of TOK` and draws six things 200 times each. It trains on all 23; here a tenth of the pictures, at least one, is held
out for validation and as many for test, by hash, so that a loss can be taken on pictures that were not trained on.

Pictures are PNG, JPEG or WebP in one folder, with captions in `metadata.jsonl` if there are any, as `datasets` has
them: an object with `file_name` and a text on every line. The paper leaves the captions of 3D Icons aside, and so does
the task; those of a user's own folder are trained on.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.errors import UsageError
from benchmarks.tasks.base import SPLITS, Example, Recipe, Split
from benchmarks.tasks.data_task import DataTask, held_out
from benchmarks.tasks.picture_files import Content, content_hash, read_picture
from benchmarks.tasks.picture_source import hub_rows, local_rows
from benchmarks.tasks.pictures import DrawingTask
from benchmarks.tasks.sources import Row, Source

#: What the paper draws.
TESTED = ("fluffy rabbit", "curly cloud", "roaring lion", "dripping water drop", "hopping frog", "smiling sun")
#: What methods are tuned on: our choice, of the same kind and none of the same things.
VALIDATED = ("sleepy cat", "snowy mountain", "singing bird", "melting ice cream", "swimming fish", "shining star")
#: Pictures of each of them; the paper's for the test.
REPEATS: dict[Split, int] = {"train": 6, "validation": 5, "test": 200}
#: Pictures of the test that are drawn for a report, whether or not any are scored.
SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class PictureFile(Example):
    """A picture with the prompt that it is trained on; the completion is its name."""

    content: Content


class DreamBooth(DrawingTask, DataTask):
    """The style of 3D Icons."""

    name: ClassVar[str] = "dreambooth-3d-icons"
    version: ClassVar[str] = "1"
    #: Without a CLIP model; see `benchmarks.diffusion.latent_architecture`.
    metric: ClassVar[str] = "noise explained"
    suggestion: ClassVar[str] = "stabilityai/stable-diffusion-xl-base-1.0"
    source: ClassVar[Source] = Source(hub="linoyts/3d_icon", columns=("image",))
    recipe: ClassVar[Recipe] = Recipe(
        steps=500, batch_size=4, micro_batch_size=1, learning_rate=2e-4, max_new_tokens=0, evaluation_batch_size=2
    )
    #: Steps of diffusers' instructions for this training, guidance of its pipeline; the paper names neither.
    sampling_steps: ClassVar[int] = 25
    guidance: ClassVar[float] = 5.0
    #: The prompt of every picture.
    instance_prompt: ClassVar[str] = "a TOK icon, in the style of TOK"
    #: The prompt of what is drawn.
    wanted_prompt: ClassVar[str] = "a ToK icon of a {thing}, in the style of ToK"
    captioned: ClassVar[bool] = False

    def steps(self, batch_size: int) -> int:
        """See `Task.steps`."""
        return self.recipe.steps

    def read(self) -> dict[Split, list[Row]]:
        """See `DataTask.read`: a row has `name`, `prompt` and `content`."""
        found = (
            hub_rows(self.name, self.source.hub)
            if self.data is None
            else local_rows(self.name, self.data, self.captioned)
        )
        if len(found) < len(SPLITS):
            raise UsageError(
                f"--data: {self.name} finds {len(found)} picture{'s' * (len(found) != 1)}; expected at least "
                f"{len(SPLITS)}, one each to train on, to validate with and to test with"
            )
        return held_out(self, [{"prompt": self.instance_prompt, **row} for row in found], [])

    def published_rows(self) -> int:
        """See `DataTask.published_rows`."""
        return sum(len(self.examples(split)) for split in SPLITS)

    def recognised_by(self, row: Row) -> str:
        """See `DataTask.recognised_by`: the content, so that copies stay together."""
        return content_hash(row["content"])

    def example(self, row: Row) -> PictureFile:
        """See `DataTask.example`."""
        return PictureFile(prompt=row["prompt"], completion=row["name"], content=row["content"])

    def check(self) -> None:
        """See `Task.check`: opens every picture."""
        super().check()
        for split in SPLITS:
            for example in self.files(split):
                read_picture(example.content, name=example.completion, flag=self.flag)

    def files(self, split: Split) -> list[PictureFile]:
        """Return the examples of a split as what they are."""
        return [example for example in self.examples(split) if isinstance(example, PictureFile)]

    def things(self, split: Split) -> tuple[str, ...]:
        """Return what is drawn of a split; nothing in particular of the training split."""
        return {"train": (), "validation": VALIDATED, "test": TESTED}[split]

    def prompt_of(self, thing: str) -> str:
        """Return the prompt that a thing is drawn for."""
        return self.wanted_prompt.format(thing=thing)

    def wanted(self, split: Split) -> tuple[Example, ...]:
        """Return the prompts that are drawn, each thing once before any is drawn again; the completion is the thing.

        Of the training split it is the prompt of its first picture.
        """
        rounds = range(REPEATS[split])
        if not self.things(split):
            prompt = self.examples(split)[0].prompt
            return tuple(Example(prompt=prompt, completion="as in training") for _ in rounds)
        return tuple(
            Example(prompt=self.prompt_of(thing), completion=thing) for _ in rounds for thing in self.things(split)
        )

    def drawings(self, *, scored: int | None, seen: int, judged: bool) -> int:
        """Return how many pictures a run draws.

        Args:
            scored: Of the test, or None for all.
            seen: Of the training prompt, at most.
            judged: Whether pictures are scored at all.
        """
        if not judged:
            return SHOWN
        test = len(self.things("test")) * REPEATS["test"]
        return SHOWN + min(test, scored or test) + min(seen, REPEATS["train"])

    def score(self, example: Example, generated: str) -> float:
        """Refuse: pictures are scored by their likeness to the prompt or by their loss, never by a text.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(f"{self.name} has no rule for texts")

    def fingerprint(self) -> str:
        """Return a hash of all pictures with their prompts and of what is drawn (16 hex digits)."""
        digest = hashlib.sha256()
        for split in SPLITS:
            for example in self.files(split):
                digest.update(f"{split}\n{example.prompt}\n{content_hash(example.content)}\n".encode())
            digest.update("\n".join(self.prompt_of(thing) for thing in self.things(split)).encode())
        return digest.hexdigest()[:16]
