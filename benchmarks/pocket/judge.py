"""The judge of `pocket-icons`: a small network that names a picture's thing and style, where others ask CLIP.

It is trained on drawn pictures alone, of all things in all styles, the icon style among them, and of near misses of
that style, which are a class of their own. Half of what it learns from is blurred and noisy, as samples of a small
model are, because a judge of clean drawings would call every flaw another thing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy

from benchmarks.pocket.pictures.icons import LACKING
from benchmarks.pocket.pictures.scene import ICON, Scene, draw, draw_scene
from benchmarks.pocket.pictures.styles import STYLES
from benchmarks.pocket.pictures.subjects import SUBJECTS

#: The class of near misses of the icon style.
NEAR_MISS = "near miss"
SUBJECT_NAMES = tuple(SUBJECTS)
STYLE_NAMES = (*STYLES, ICON, NEAR_MISS)
WEIGHTS, RECORD = "judge.safetensors", "judge.json"
_WIDTHS = (32, 64, 128)


class Judge(nn.Module):
    """Convolutions at four resolutions, and two linear heads."""

    def __init__(self, widths: Sequence[int] = _WIDTHS) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width in widths:
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.GroupNorm(8, width), nn.SiLU()]
            layers += [nn.Conv2d(width, width, 3, stride=2, padding=1), nn.GroupNorm(8, width), nn.SiLU()]
            before = width
        self.features = nn.Sequential(*layers, nn.Flatten())
        flat = before * (32 // 2 ** len(widths)) ** 2
        self.subject = nn.Linear(flat, len(SUBJECT_NAMES))
        self.style = nn.Linear(flat, len(STYLE_NAMES))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of subjects and of styles for pixels (rows, 3, 32, 32) of values 0 to 255."""
        features = self.features(pixels.float() / 127.5 - 1.0)
        return self.subject(features), self.style(features)


def judged_scene(rng: Random) -> Scene:
    """Draw what the judge learns from: a third icons, a sixth near misses, the rest in the base's styles."""
    kind = rng.randrange(6)
    scene = draw_scene(rng)
    if kind > 2:
        return scene
    return replace(scene, style=ICON, lacking=rng.choice(LACKING) if kind == 0 else None)


def style_name(scene: Scene) -> str:
    """Return the style a judge should name."""
    return NEAR_MISS if scene.lacking else scene.style


def build_judged_shard(request: tuple[int, int]) -> NDArray[np.uint8]:
    """Return pictures with their two classes as rows uint8 (count, 3074), from (seed, count)."""
    seed, count = request
    rng = Random(f"judge {seed}")
    rows = np.empty((count, 3 * 32 * 32 + 2), dtype=np.uint8)
    for row in rows:
        scene = judged_scene(rng)
        row[:-2] = draw(scene).reshape(-1)
        row[-2:] = SUBJECT_NAMES.index(scene.subject), STYLE_NAMES.index(style_name(scene))
    return rows


def spoiled(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Return pictures (rows, 3, 32, 32) in 0 to 255, half of them blurred by a random share and made noisy.

    The standard deviation of the noise is drawn for each picture, from 0 to 20 of the 256 levels.
    """
    rows, device = len(pixels), pixels.device

    def lots() -> Tensor:
        return torch.rand(rows, 1, 1, 1, generator=generator, device=device)

    chosen = (lots() < 0.5).float()
    blurred = avg_pool2d(pixels, 3, stride=1, padding=1, count_include_pad=False)
    soft = pixels + (blurred - pixels) * lots() * chosen
    noise = torch.randn(pixels.shape, generator=generator, device=device) * 20 * lots()
    return (soft + noise * chosen).clamp(0, 255)


def train_judge(
    rows: NDArray[np.uint8],
    *,
    device: torch.device,
    steps: int,
    batch_size: int = 256,
    learning_rate: float = 2e-3,
    seed: int = 0,
    report: Callable[[int, float], None] = lambda step, loss: None,
) -> Judge:
    """Train a judge on rows of `build_judged_shard`.

    Args:
        rows: Pictures with their two classes, uint8 (count, 3074).
        device: Where to train.
        steps: Optimizer steps of AdamW; one cycle of the learning rate.
        batch_size: Pictures of a step.
        learning_rate: Peak.
        seed: Of weights, order and spoiling.
        report: Called now and then with step and loss.
    """
    torch.manual_seed(seed)
    judge = Judge().to(device)
    generator = torch.Generator(device).manual_seed(seed)
    data = torch.from_numpy(rows).to(device)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
    for step in range(steps):
        batch = data[torch.randint(len(data), (batch_size,), generator=generator, device=device)]
        pixels = spoiled(batch[:, :-2].reshape(-1, 3, 32, 32).float(), generator)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            subject, style = judge(pixels)
        loss = cross_entropy(subject.float(), batch[:, -2].long()) + cross_entropy(style.float(), batch[:, -1].long())
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        if step % max(1, steps // 10) == 0:
            report(step, loss.item())
    return judge.eval()


def verdicts(judge: Judge, pixels: NDArray[np.uint8], *, batch_size: int = 512) -> list[tuple[str, str]]:
    """Return (subject, style) as the judge names them for pictures uint8 (rows, 3, 32, 32)."""
    device = next(judge.parameters()).device
    found: list[tuple[str, str]] = []
    for start in range(0, len(pixels), batch_size):
        with torch.inference_mode():
            both = judge(torch.from_numpy(pixels[start : start + batch_size]).to(device))
        names = [logits.argmax(dim=1).tolist() for logits in both]
        found += [(SUBJECT_NAMES[s], STYLE_NAMES[t]) for s, t in zip(*names, strict=True)]
    return found


def accuracies(judge: Judge, rows: NDArray[np.uint8]) -> dict[str, float]:
    """Return shares on rows of `build_judged_shard`: of right verdicts, and of icons and others called icons."""
    found = verdicts(judge, rows[:, :-2].reshape(-1, 3, 32, 32))
    icon = STYLE_NAMES.index(ICON)
    right_subject = np.array([SUBJECT_NAMES[row[-2]] == s for row, (s, _) in zip(rows, found, strict=True)])
    right_style = np.array([STYLE_NAMES[row[-1]] == t for row, (_, t) in zip(rows, found, strict=True)])
    icons = rows[:, -1] == icon
    called = np.array([t == ICON for _, t in found])
    return {
        "subject": float(right_subject.mean()),
        "style": float(right_style.mean()),
        "subject of icons": float(right_subject[icons].mean()),
        "icons called icons": float(called[icons].mean()),
        "others called icons": float(called[~icons].mean()),
    }


def save_judge(folder: Path, judge: Judge, record: dict[str, object]) -> None:
    """Write weights (bf16) and a record of what was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.to(torch.bfloat16).contiguous() for name, value in judge.state_dict().items()}
    save_file(weights, folder / WEIGHTS)
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def load_judge(folder: Path, *, device: torch.device | None = None) -> Judge:
    """Load a judge in fp32, in evaluation mode."""
    judge = Judge()
    judge.load_state_dict({name: value.float() for name, value in load_file(folder / WEIGHTS).items()})
    return judge.to(device or torch.device("cpu")).eval()
