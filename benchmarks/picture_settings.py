"""The settings of a comparison that are about models that draw."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import parsing
from benchmarks.parsing import setting


@dataclass(frozen=True, kw_only=True)
class PictureSettings:
    """How large pictures are, and which models judge what was drawn."""

    resolution: int | None = setting(
        None,
        parsing.optional(parsing.integer(minimum=8)),
        "side of pictures in pixels, for a model with an autoencoder; none: as the model was made for",
    )
    clip_model: str | None = setting(
        None,
        parsing.optional(parsing.text),
        "CLIP model that scores drawn pictures against their prompts: a folder, or OWNER/NAME on the hub; none: "
        "pictures are drawn and not scored",
        metavar="NAME",
    )
    caption_model: str | None = setting(
        None,
        parsing.optional(parsing.text),
        "model that writes the captions of CLIP's text-to-text score, such as a BLIP; none: no such score",
        metavar="NAME",
    )
