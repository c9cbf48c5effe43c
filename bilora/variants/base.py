"""What an adapter variant is: how the weight change is parametrised, and where its parameters start.

A variant is chosen apart from the training method and combines with it as `dora+bilora`. It knows which PEFT
configuration it is, whether it needs gradients of the model before it is attached, and whether it can stand on a
4-bit base. What it does to a weight is in `bilora.effective`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from peft import PeftConfig, PeftModel
from torch import nn

from bilora.adapters import attach_primary
from bilora.methods.options import MethodOptions

_TASK_TYPES = ("CAUSAL_LM", "SEQ_2_SEQ_LM", "SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION")


class VariantError(ValueError):
    """A variant, one of its settings or a combination cannot be used as asked; the message says what could be."""


class AdapterVariant(ABC):
    """One parametrisation of the weight change, with its settings.

    Args:
        rank: Rank r of the factors.
        alpha: Numerator of the scaling s = alpha / r; None takes 2 r, as the Bi-LoRA paper does. Variants without a
            scaling refuse it.
        dropout: Dropout in front of the adapter, in [0, 1).
        target_modules: Which modules are adapted: "all-linear", a pattern, or names.
        task_type: PEFT's task type, such as CAUSAL_LM; None for models that are not of transformers.
        options: The variant's own options.

    Raises:
        VariantError: If a setting cannot be used.
    """

    name: ClassVar[str]
    #: The change of the weight, or the start, in one line.
    summary: ClassVar[str]
    #: Paper, venue, arXiv number; where it is implemented.
    source: ClassVar[str]
    #: Why it cannot stand on a 4-bit base; None if it can.
    refused_on_quantised: ClassVar[str | None] = None
    #: Whether `prepare` has to be called before `attach`.
    needs_gradients: ClassVar[bool] = False
    #: Whether the change is multiplied by s = alpha / r.
    takes_alpha: ClassVar[bool] = True
    #: Whether the start is taken out of the base weight, see `bilora.residual_base`.
    changes_base: ClassVar[bool] = False
    options_class: ClassVar[type[MethodOptions]] = MethodOptions

    def __init__(
        self,
        *,
        rank: int = 8,
        alpha: float | None = None,
        dropout: float = 0.0,
        target_modules: str | Sequence[str] = "all-linear",
        task_type: str | None = None,
        options: MethodOptions | None = None,
    ) -> None:
        if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
            raise VariantError(f"rank is {rank!r}; expected an integer >= 1")
        if alpha is not None and not self.takes_alpha:
            raise VariantError(f"variant {self.name!r} has no scaling, so alpha={alpha!r} means nothing; leave it out")
        if alpha is not None and not (_is_number(alpha) and 0 < alpha < math.inf):
            raise VariantError(f"alpha is {alpha!r}; expected a number > 0")
        if not (_is_number(dropout) and 0 <= dropout < 1):
            raise VariantError(f"dropout is {dropout!r}; expected a number in [0, 1)")
        if task_type is not None and task_type not in _TASK_TYPES:
            raise VariantError(f"task_type is {task_type!r}; expected one of {', '.join(_TASK_TYPES)}, or None")
        self.rank = rank
        self.alpha = 2 * rank if alpha is None else alpha
        self.dropout = dropout
        self.target_modules = target_modules if isinstance(target_modules, str) else list(target_modules)
        self.task_type = task_type
        self.options = self.options_class() if options is None else options

    @abstractmethod
    def peft_config(self) -> PeftConfig:
        """Return PEFT's configuration of the adapter."""

    @property
    def _common(self) -> dict[str, Any]:
        return {"r": self.rank, "target_modules": self.target_modules, "task_type": self.task_type}

    @property
    def _lora(self) -> dict[str, Any]:
        return {**self._common, "lora_alpha": self.alpha, "lora_dropout": self.dropout}

    def prepare(self, model: nn.Module, forward_backward: Callable[[], Any]) -> None:
        """Look at the plain model's gradients; only variants with `needs_gradients` do.

        Args:
            model: The model that will be attached to.
            forward_backward: Runs forward and backward passes over the batches to estimate from.
        """

    def attach(self, model: nn.Module, *, start: str | Path | None = None) -> PeftModel:
        """Return the model with the adapter on it; attach a method to what is returned.

        Args:
            model: A plain model. Its modules are wrapped in place, as PEFT does.
            start: Folder of an adapter or checkpoint of an earlier run whose start is taken, so that a resumed run
                neither decomposes weights nor estimates gradients again; for variants that change the base.

        Raises:
            VariantError: If the base is quantised and the variant cannot stand on it, if gradients are needed and
                `prepare` was not called, or if a start is given to a variant that has none.
        """
        self.check_base(model)
        if start is not None:
            raise VariantError(f"variant {self.name!r} leaves the base weights as they are; it takes no start")
        return attach_primary(model, self.peft_config())

    def check_base(self, model: nn.Module) -> None:
        """Refuse a quantised model if the variant cannot stand on one."""
        if self.refused_on_quantised is not None and getattr(model, "is_quantized", False):
            raise VariantError(f"variant {self.name!r} cannot stand on a quantised base: {self.refused_on_quantised}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
