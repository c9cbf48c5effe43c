"""Small computations behind the pictures of spaces and gauges: `python -m docs.pages.gauges` draws them anew.

A scalar product b a shows the effect in closed form. A network of two layers, fine-tuned for a few hundred steps, shows
that it is no artefact of the scalar: its curvature in raw factors is taken from the dense Hessian, and in the balanced
gauge and in the full space by this project's own spaces.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.autograd.functional import hessian
from torch.func import functional_call

from analysis import HessianOperator, Objective, eigenvalues, parameter_space, worst_case
from analysis.spaces import adapted_layers

FOLDER = Path(__file__).parents[1] / "concepts" / "pictures"
#: Factors c by which A is multiplied and B divided.
SCALES = tuple(float(c) for c in np.geomspace(0.25, 4.0, 17))
RADII = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
SPACES = ("full", "tangent", "lora")


class TwoLayers(nn.Module):
    """Logits (b, 4) of a batch (b, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 12)
        self.second = nn.Linear(12, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits."""
        found: Tensor = self.second(torch.tanh(self.first(inputs)))
        return found


def loss(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
    """Return the summed cross-entropy and the number of examples."""
    found = nn.functional.cross_entropy(model(batch["inputs"]), batch["labels"], reduction="sum")
    return found, len(batch["labels"])


def trained() -> tuple[Any, list[dict[str, Tensor]]]:
    """Return a network with a LoRA adapter of rank 2, trained on 64 examples in float64, and the examples."""
    torch.manual_seed(0)
    inputs = torch.randn(64, 8, dtype=torch.float64)
    labels = (inputs @ torch.randn(8, 4, dtype=torch.float64)).argmax(dim=1)
    # Some labels are wrong, so that the loss stays off zero.
    labels[::6] = (labels[::6] + 1) % 4
    config = LoraConfig(r=2, lora_alpha=4, target_modules=["first", "second"])
    model = get_peft_model(TwoLayers().double(), config).double()
    batch = {"inputs": inputs, "labels": labels}
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=2e-2)
    for _ in range(300):
        optimizer.zero_grad()
        total, count = loss(model, batch)
        (total / count).backward()
        optimizer.step()
    return model.eval(), [batch]


def rescale(model: Any, c: float) -> None:
    """Multiply every A by c and divide every B by it: the model stays the same function."""
    with torch.no_grad():
        for layer in adapted_layers(model):
            layer.A.mul_(c)
            layer.B.div_(c)


def raw_curvature(model: Any, batch: dict[str, Tensor]) -> float:
    """Return the largest eigenvalue of the dense Hessian in the factors as they are."""
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    values = [dict(model.named_parameters())[name].detach() for name in names]
    shapes = [value.shape for value in values]

    def mean_loss(flat: Tensor) -> Tensor:
        parts = torch.split(flat, [shape.numel() for shape in shapes])
        given = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        logits = functional_call(model, given, (batch["inputs"],))
        return nn.functional.cross_entropy(logits, batch["labels"])

    dense = hessian(mean_loss, torch.cat([value.reshape(-1) for value in values]))
    return float(torch.linalg.eigvalsh(dense)[-1])


@dataclass(frozen=True, kw_only=True)
class Gauges:
    """Largest eigenvalues at every scale c: in raw factors, in the balanced gauge, in the full space."""

    scales: tuple[float, ...]
    raw: tuple[float, ...]
    balanced: tuple[float, ...]
    full: tuple[float, ...]


def largest(objective: Objective, model: Any, name: str) -> float:
    """Return the largest Hessian eigenvalue in a space."""
    with parameter_space(model, name) as space:
        found = eigenvalues(HessianOperator(objective, space), top=1, bottom=0, tolerance=1e-8, max_products=200)
    return found.top[0].value


def measure_gauges(scales: tuple[float, ...] = SCALES) -> Gauges:
    """Measure the trained network under every scale."""
    model, batches = trained()
    objective = Objective(model, batches, loss=loss)
    raw, balanced, full = [], [], []
    for c in scales:
        rescale(model, c)
        raw.append(raw_curvature(model, batches[0]))
        balanced.append(largest(objective, model, "lora"))
        full.append(largest(objective, model, "full"))
        rescale(model, 1 / c)
    return Gauges(scales=scales, raw=tuple(raw), balanced=tuple(balanced), full=tuple(full))


def measure_rises(radii: tuple[float, ...] = RADII) -> dict[str, list[float]]:
    """Return the worst rise that ascent found at every radius ||dW||, by space."""
    model, batches = trained()
    objective = Objective(model, batches, loss=loss)
    found: dict[str, list[float]] = {}
    for name in SPACES:
        with parameter_space(model, name) as space:
            found[name] = [worst_case(objective, space, radius=radius, max_steps=30).increase for radius in radii]
    return found
