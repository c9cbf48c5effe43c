"""What is written beside the weights of `pocket-sdxl`: the record, the curve, a sheet of samples, the model card."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import image
from numpy.typing import NDArray

from benchmarks.pocket.card import CARD, PICTURE, RECORD, draw_curve, table
from benchmarks.pocket.training import CurvePoint

SAMPLES = "samples.png"
#: Pictures on the sheet of samples, and in a row of it.
SHEET, COLUMNS = 64, 16
_ENLARGED = 2


@dataclass(frozen=True, kw_only=True)
class SdxlRecord:
    """Everything measured in a pretraining run.

    Attributes:
        model: Name of the base.
        command: The command line that made it.
        parameters: Number of weights of every part.
        settings: Shape, corpus, optimizer and sampling settings.
        environment: Hardware and versions.
        seconds: Time by phase.
        curve: Training loss over steps; its tokens are pictures.
        held_out: Denoising loss of held-out pictures, of the saved bf16 weights; a test recomputes it.
        pass_rate: Shares of pictures sampled from held-out captions that the judge finds right.
    """

    model: str
    command: str
    parameters: Mapping[str, int]
    settings: Mapping[str, Any]
    environment: Mapping[str, str]
    seconds: Mapping[str, float]
    curve: tuple[CurvePoint, ...]
    held_out: Mapping[str, Any]
    pass_rate: Mapping[str, float]


def write_sheet(folder: Path, pictures: NDArray[np.uint8]) -> None:
    """Write pictures uint8 (rows, 3, side, side) as one PNG, with a white pixel between them."""
    side = pictures.shape[-1] + 1
    rows = math.ceil(len(pictures) / COLUMNS)
    sheet = np.full((rows * side + 1, COLUMNS * side + 1, 3), 255, dtype=np.uint8)
    for index, picture in enumerate(pictures):
        top, left = (side * place + 1 for place in divmod(index, COLUMNS))
        sheet[top : top + side - 1, left : left + side - 1] = picture.transpose(1, 2, 0)
    image.imsave(folder / SAMPLES, sheet.repeat(_ENLARGED, axis=0).repeat(_ENLARGED, axis=1))


def write_record(folder: Path, record: SdxlRecord) -> None:
    """Write the JSON record, the picture of the curve, and the model card."""
    (folder / RECORD).write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")
    draw_curve(folder / PICTURE, record.curve, title=record.model, labels=("million pictures", "training loss"))
    (folder / CARD).write_text(_card(record, folder), encoding="utf-8")


def _card(record: SdxlRecord, folder: Path) -> str:
    last, where = record.curve[-1], record.environment
    unet, encoder = (record.parameters[part] / 1e6 for part in ("unet", "text_encoder"))
    return f"""---
license: apache-2.0
language: en
library_name: diffusers
pipeline_tag: text-to-image
---

# {record.model}

A text-to-image model with the structure of SDXL: a UNet of {unet:.2f} million parameters and a CLIP text encoder of
{encoder:.2f} million, for fine-tuning experiments that have to run on two CPU cores. It draws one thing on a
background, 32 x 32 pixels. It is a test bed and of no use otherwise.

![Samples from held-out captions]({SAMPLES})

![Training loss]({PICTURE})

## How it was made

```
{record.command}
```

{last.tokens / 1e6:,.1f} million pictures in {last.step:,} steps at the curve's last point;
{sum(record.seconds.values()):.0f} s in all, {last.seconds:.0f} s of them training steps, on {where["hardware"]},
Python {where["python"]}, torch {where["torch"]}, transformers {where["transformers"]}. All settings, the curve and the
numbers below are in `{RECORD}`.

The network sees two by two pixels as twelve channels of one place, where SDXL has its autoencoder: no weights, no loss.
It predicts v on a cosine schedule that ends in pure noise (`benchmarks/diffusion/noise.py`).

## Data

{record.settings["corpus_pictures"]:,} pictures, drawn by `benchmarks/pocket/pictures/` with arithmetic that has
the same bits on every machine: 26 things in 12 colours, three sizes, five places, three kinds of background and eight
styles, with captions that leave out a part of it. Some originals are half as large or cropped, as the
micro-conditioning says. One caption in ten is empty. The words "icon" and "sks" and the style of the task
`pocket-icons` never occur.

{_measured(record, folder)}

## Limits

Nothing but the things above, one at a time. A rerun on other hardware gives a model of the same quality, not the same
bits.

## Licence

Weights and tokenizer: Apache-2.0.
"""


def _measured(record: SdxlRecord, folder: Path) -> str:
    """Return the sections of the card that say how good the base and its judge are."""
    held_out, sampling, judge = record.held_out, record.settings["sampling"], record.parameters["judge"] / 1e6
    judged = json.loads((folder / "judge" / "judge.json").read_text(encoding="utf-8"))
    return f"""## Held-out loss

Mean squared error of v over {held_out["pictures"]} held-out pictures: {held_out["loss"]:.4f}.

## Samples that the judge finds right

{sampling["captions"]} held-out captions, {sampling["steps"]} steps, guidance {sampling["guidance"]:g}:

{table(("what", "share"), record.pass_rate, ".1%")}

## The judge

A network of {judge:.2f} million parameters in `judge/` names the thing and the style of a picture. It was trained on
{judged["pictures"]:,} drawn pictures of all styles, that of the task and near misses of it included. On
{judged["held_out"]:,} others that were held out:

{table(("right", "share"), judged["accuracy"], ".2%")}"""
