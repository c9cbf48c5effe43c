"""How long drawing will take beside training, for a plan: pictures to draw times the seconds that one took.

One picture was measured on one H200 (`results/sdxl-dreambooth-h200.json`, by `benchmarks.diffusion.drawing_cost`).
"""

from __future__ import annotations

import json

from benchmarks.estimates import HUB_SHAPES, RESULTS
from benchmarks.settings import CompareSettings
from benchmarks.tasks import create_task
from benchmarks.tasks.dreambooth import DreamBooth

#: Side of the pictures that SDXL was made for, in pixels.
SIDE = 1024


def drawing_seconds(model: str, *, side: int, steps: int) -> float | None:
    """Return the seconds of a picture on one H200; None for a model that was not measured.

    Args:
        model: Name in `SHAPES`.
        side: Of the picture, in pixels; the measured one is scaled by its area.
        steps: Of the sampler; likewise.
    """
    if model != "sdxl-unet":
        return None
    found = json.loads((RESULTS / "sdxl-dreambooth-h200.json").read_text())["drawing"]
    record = next(record for record in found if record["path"] == "replayed")
    seconds: float = record["seconds"] * steps / record["steps"] + record["decode_seconds"]
    return seconds * (side / float(record["side"])) ** 2


def drawing_sentences(settings: CompareSettings) -> tuple[str, ...]:
    """Return what drawing comes to, a sentence for every task that asks SDXL for pictures."""
    tasks = [create_task(task, data=settings.data) for task in settings.tasks]
    return tuple(_sentence(settings, task) for task in tasks if isinstance(task, DreamBooth))


def _sentence(settings: CompareSettings, task: DreamBooth) -> str:
    count = task.drawings(
        scored=settings.test_examples, seen=settings.evaluation_examples, judged=settings.clip_model is not None
    )
    shape = HUB_SHAPES.get(settings.model or "", "")
    seconds = drawing_seconds(shape, side=settings.resolution or SIDE, steps=task.sampling_steps)
    if seconds is None:
        return (
            f"a run of {task.name} draws {count:,} pictures on top; how long this model takes for one was not measured"
        )
    return (
        f"a run of {task.name} draws {count:,} pictures on top, {seconds:.1f} s each as measured on one H200: "
        f"{count * seconds / 3600:.2f} hours"
    )
