"""The settings of a comparison that say what is measured of a trained adapter, and on what else it is scored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks import parsing
from benchmarks.landscapes import KINDS as LANDSCAPES
from benchmarks.parsing import setting


@dataclass(frozen=True, kw_only=True)
class MeasurementSettings:
    """Sharpness, landscapes, and tasks of lm-eval."""

    measure: bool = setting(True, parsing.switch, "measure sharpness after training", metavar="true|false")
    measure_examples: int = setting(16, parsing.integer(minimum=1), "training examples that sharpness is measured on")
    spaces: tuple[str, ...] = setting(
        ("full", "lora"), parsing.names, "spaces of the measurement: full, lora, tangent", metavar="A,B"
    )
    radius: float = setting(
        0.05,
        parsing.number(minimum=0, exclusive=True),
        "radius of worst-case sharpness, Frobenius norm in weight space",
        metavar="X",
    )
    average_radius: float = setting(
        1.0,
        parsing.number(minimum=0, exclusive=True),
        "radius of average-case sharpness, Frobenius norm in weight space",
        metavar="X",
    )
    top: int = setting(3, parsing.integer(minimum=0), "largest Hessian eigenvalues per space")
    bottom: int = setting(1, parsing.integer(minimum=0), "smallest Hessian eigenvalues per space")
    tolerance: float = setting(
        5e-3,
        parsing.number(minimum=0, exclusive=True),
        "residual at which eigenvalues stop, relative to the largest",
        metavar="X",
    )
    ascent_steps: int = setting(10, parsing.integer(minimum=1), "steps of projected ascent for the worst case")
    max_products: int = setting(60, parsing.integer(minimum=1), "Hessian products per space at most")
    landscape: tuple[str, ...] | None = setting(
        None,
        parsing.optional(parsing.names),
        f"also store for the report's figures, in every space: {', '.join(LANDSCAPES)}",
        metavar="A,B",
    )
    score: tuple[str, ...] | None = setting(
        None, parsing.optional(parsing.names), "tasks of lm-eval to score each run's adapter on", metavar="A,B"
    )
    score_limit: int | None = setting(
        None, parsing.optional(parsing.integer(minimum=1)), "examples of each of them; none: all"
    )
    score_batch_size: int = setting(16, parsing.integer(minimum=1), "examples of them at a time")
    score_include_path: Path | None = setting(
        None, parsing.optional(parsing.path), "folder with YAML tasks of your own for --score", metavar="FOLDER"
    )
    confirm_run_unsafe_code: bool = setting(
        False,
        parsing.switch,
        "allow tasks of --score that run what the model writes, in the sandbox",
        metavar="true|false",
    )
