"""Everything that determines a run, and the key made of it.

A run is a pure function of its `RunSpec` (up to the rounding of other hardware and library versions, which the
run's record names). Two specifications with equal content have the same key, so a run that is stored under its
key need not be repeated; anything that changes what is computed must therefore be a field here.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from benchmarks.choices import choice_label
from benchmarks.tasks.base import Split

#: Fields that came later, with their defaults: runs that were finished before there was a choice keep their keys.
_LATER_FIELDS: dict[str, Any] = {
    "cuda_graphs": False,
    "dynamics": None,
    "scored": "test",
    "revision": None,
    "dtype": "float32",
    "attention": None,
    "gradient_checkpointing": False,
    "trust_remote_code": False,
    "device_map": None,
    "target_modules": "all-linear",
    "chat_template": "auto",
    "max_length": None,
    "packing": False,
    "evaluation_batch_size": None,
    "schedule": "cosine",
    "resolution": None,
    "judges": None,
}
#: What the fingerprint of the model and the version of the task stand for, wherever the files lie.
_PLACES = ("model", "data", "clip_model", "caption_model")


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One training run with its evaluation and its measurement.

    Attributes:
        method: Name in `bilora.method_names()`.
        variant: Adapter parametrisation, a name in `bilora.variants.variant_names()`.
        quantize: "nf4" for a 4-bit base, or None.
        options: The method's options, defaults filled in.
        task: Name of the task, `task_version` the version of its data and rule.
        model: Name or folder as given; `model_fingerprint` stands for its content in the key.
        seed: Seeds the primary adapter's start, the data order and dropout; equal seeds are paired over methods.
        steps: Optimizer steps.
        batch_size: Examples per optimizer step.
        micro_batch_size: Examples per forward pass; batch_size / micro_batch_size passes are accumulated.
        learning_rate: Peak learning rate, reached by a linear warm-up over a share `warmup` of the steps.
        weight_decay: Decoupled weight decay of the primary adapter.
        max_grad_norm: Gradient clip of each parameter group.
        rank: LoRA rank r.
        alpha: LoRA alpha; the scaling is alpha / r.
        dropout: LoRA dropout.
        evaluations: How often losses are taken during training, at most.
        evaluation_examples: Validation and training examples of each of these; training examples scored at the end.
        test_examples: Examples scored; None takes all.
        measurement: Settings of the sharpness measurement, or None for none.
        device: Type of device, "cpu" or "cuda".
        cuda_graphs: Whether passes are replayed as CUDA graphs.
        dynamics: Steps from one recorded state of the adapters to the next, or None for no record.
        scored: Split that is scored, "test", or "validation" while tuning.
        revision: Commit of a model from the hub, or None.
        dtype: Type of the frozen weights; adapters are float32.
        attention: Implementation of attention, or None for the model's default.
        gradient_checkpointing: Whether activations are recomputed in the backward pass.
        trust_remote_code: Whether code of the model's repository was run.
        device_map: "auto" where the model's layers are spread over the GPUs of a machine, or None.
        target_modules: Names of the adapted modules with commas between, or "all-linear".
        chat_template: "auto" or "none".
        max_length: Tokens of the longest row, or None.
        packing: Whether several examples share a training row.
        evaluation_batch_size: Rows at a time in evaluations, or None for what small models can have.
        data: Where local data lie, or None; `task_version` has the hash of the examples.
        schedule: What the learning rate does after the warm-up, a name in `benchmarks.schedules`.
        resolution: Side of pictures in pixels, or None for what the model was made for.
        clip_model: What scores drawn pictures, or None; `judges` stands for its content in the key.
        caption_model: What captions them for CLIP's text-to-text score, or None; likewise.
        judges: Fingerprints of the two with a plus between, or None.
    """

    method: str
    variant: str
    quantize: str | None
    options: dict[str, Any]
    task: str
    task_version: str
    model: str
    model_fingerprint: str
    seed: int
    steps: int
    batch_size: int
    micro_batch_size: int
    learning_rate: float
    warmup: float
    weight_decay: float
    max_grad_norm: float
    rank: int
    alpha: float
    dropout: float
    evaluations: int
    evaluation_examples: int
    test_examples: int | None
    measurement: dict[str, Any] | None
    device: str
    cuda_graphs: bool = False
    dynamics: int | None = None
    scored: Split = "test"
    revision: str | None = None
    dtype: str = "float32"
    attention: str | None = None
    gradient_checkpointing: bool = False
    trust_remote_code: bool = False
    device_map: str | None = None
    target_modules: str = "all-linear"
    chat_template: str = "auto"
    max_length: int | None = None
    packing: bool = False
    evaluation_batch_size: int | None = None
    data: str | None = None
    schedule: str = "cosine"
    resolution: int | None = None
    clip_model: str | None = None
    caption_model: str | None = None
    judges: str | None = None
    software: str = f"bilora {version('bilora')}"

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready record."""
        return asdict(self)

    @property
    def label(self) -> str:
        """The name of method, variant and precision in tables and reports."""
        return choice_label(self.method, self.variant, self.quantize)

    @property
    def key(self) -> str:
        """Readable names, then 12 hex digits of the SHA-256 over everything but where models and data lie."""
        content = self.as_dict()
        for name in _PLACES:
            del content[name]
        for name, default in _LATER_FIELDS.items():
            if content[name] == default:
                del content[name]
        canonical = json.dumps(content, sort_keys=True, allow_nan=False)
        digest = hashlib.sha256(canonical.encode()).hexdigest()[:12]
        return f"{self.task}-{self.label}-seed{self.seed}-{digest}"
