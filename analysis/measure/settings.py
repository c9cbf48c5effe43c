"""What `python -m analysis.measure` is asked to do: every field is a flag and a line of `--help`.

All of it is read and checked before a model is loaded; the first thing that cannot be used is answered by one line that
names the flag, what was found and what was expected.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn

from analysis.errors import SettingsError, nearest
from analysis.scores import SCORES
from analysis.spaces import check_space_name

METRICS = ("top", "density", "trace", "sharpness", "robustness", "landscape", "capture")
Reader = Callable[[str], Any]
_WHOLE = re.compile(r"-?[0-9]{1,18}")


def _integer(least: int) -> Reader:
    def read(raw: str) -> int:
        if not _WHOLE.fullmatch(raw) or int(raw) < least:
            raise ValueError(f"a whole number of at least {least}")
        return int(raw)

    return read


def _positive(raw: str) -> float:
    try:
        value = float(raw)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError("a positive number")
    return value


def _choice(*allowed: str) -> Reader:
    def read(raw: str) -> str:
        if raw not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}{nearest(raw, allowed)}")
        return raw

    return read


def _list(item: Reader) -> Reader:
    def read(raw: str) -> tuple[Any, ...]:
        values = tuple(item(part.strip()) for part in raw.split(",") if part.strip())
        if not values or len(set(values)) < len(values):
            raise ValueError("one value or more, separated by commas, each once")
        return values

    return read


def _space(raw: str) -> str:
    check_space_name(raw)
    return raw


def flag(default: Any, reader: Reader, help_text: str, *, metavar: str = "N") -> Any:
    """Declare a flag: its default, how its text is read, and its line of help."""
    return field(default=default, metadata={"reader": reader, "help": help_text, "metavar": metavar})


@dataclass(frozen=True, kw_only=True)
class MeasureSettings:
    """What is measured, of what, on what, and how exactly."""

    model: str | None = flag(None, str, "model folder or name; with --adapter, its base", metavar="NAME")
    adapter: str | None = flag(None, str, "folder of a PEFT adapter or Trainer checkpoint", metavar="FOLDER")
    data: str = flag(
        "", str, "examples: .jsonl, .json or .parquet with text | prompt,completion | text,label | input_ids,labels",
        metavar="FILE",
    )  # fmt: skip
    out: str = flag("measurement", str, "output folder: measure.json, index.html, figures", metavar="FOLDER")
    spaces: tuple[str, ...] = flag(
        ("full", "lora"), _list(_space), "any of full, all, lora, tangent, auxiliary, layer:NAME", metavar="A,B"
    )
    metrics: tuple[str, ...] = flag(
        ("top", "sharpness"), _list(_choice(*METRICS)), f"any of {', '.join(METRICS)}", metavar="A,B"
    )
    examples: int = flag(16, _integer(1), "how many examples, the first ones")
    batch_size: int = flag(8, _integer(1), "examples at a time; bounds the memory, not the result")
    max_length: int = flag(1024, _integer(2), "tokens of an example at most; longer ones are cut")
    dtype: str = flag("float32", _choice("float32", "float64", "bfloat16"), "type of the weights", metavar="TYPE")
    device: str = flag("auto", _choice("auto", "cpu", "cuda"), "auto, cpu or cuda", metavar="NAME")
    operator: str = flag(
        "hessian", _choice("hessian", "gauss-newton", "fisher"), "curvature of top, density and trace", metavar="NAME"
    )
    route: str = flag(
        "auto", _choice("auto", "reverse", "forward", "difference"), "how Hessian products are taken", metavar="NAME"
    )
    compile_layers: str = flag(
        "no", _choice("no", "yes"), "compile the layers for Hessian and Gauss-Newton products of a large model",
        metavar="YES",
    )  # fmt: skip
    compute_dtype: str = flag(
        "same", _choice("same", "float32"), "with --compile-layers yes: compute narrower weights in float32",
        metavar="TYPE",
    )  # fmt: skip
    backend: str = flag(
        "native", _choice("native", "pyhessian"), "who computes top and trace: this package or PyHessian",
        metavar="NAME",
    )  # fmt: skip
    top: int = flag(5, _integer(1), "largest eigenvalues")
    bottom: int = flag(1, _integer(0), "smallest eigenvalues")
    tolerance: float = flag(
        1e-2, _positive, "residual at which eigenvalues stop, relative to |lambda_max|", metavar="X"
    )
    max_products: int = flag(200, _integer(1), "products per space and metric at most")
    basis_size: int = flag(24, _integer(5), "Lanczos vectors held at once; each is as large as the space")
    basis_storage: str = flag(
        "device",
        _choice("device", "host", "none"),
        "where they are held; none: the outermost eigenvalues alone",
        metavar="WHERE",
    )
    basis_dtype: str = flag(
        "same", _choice("same", "bfloat16"), "their type; bfloat16 halves the memory and bounds the residual below",
        metavar="TYPE",
    )  # fmt: skip
    radius: float = flag(0.05, _positive, "rho of the worst case, ||dW||_F in weight space", metavar="X")
    average_radius: float = flag(1.0, _positive, "rho of the average case", metavar="X")
    block_size: int = flag(4, _integer(1), "examples of each block, for m-sharpness and errors over data")
    draws: int = flag(8, _integer(2), "random directions of averages, or probes of densities")
    alphas: tuple[float, ...] = flag(
        (0.5, 1.0, 2.5, 4.0, 5.0), _list(_positive), "steps of the robustness curve", metavar="A,B"
    )
    score: str = flag(
        "none", _choice("none", *SCORES), "what the robustness curve follows beside the loss: share of labels "
        "predicted, or Matthews correlation", metavar="NAME",
    )  # fmt: skip
    points: int = flag(11, _integer(3), "odd number of points along an axis of the landscape")
    extent: float = flag(0.5, _positive, "reach of the landscape, relative to the rows of the weights", metavar="X")
    seed: int = flag(0, _integer(0), "seed of all random directions")

    def __post_init__(self) -> None:
        """Check what no single flag can know.

        Raises:
            SettingsError: At the first combination that cannot be used.
        """
        if self.model is None and self.adapter is None:
            raise SettingsError(
                "--model, --adapter: neither was given; name a model folder, an adapter folder, or both"
            )
        if not self.data:
            raise SettingsError("--data: missing; expected a .jsonl, .json or .parquet file of examples")
        if self.points % 2 == 0:
            raise SettingsError(
                f"--points: found {self.points}; expected an odd number, so that the centre is one of them"
            )
        if self.backend == "pyhessian" and self.operator != "hessian":
            raise SettingsError(f"--backend: pyhessian computes the Hessian only; found --operator {self.operator}")
        if self.backend == "pyhessian":
            self._refuse_what_pyhessian_ignores()
        if self.compile_layers == "yes" and (self.route not in ("auto", "forward") or self.backend == "pyhessian"):
            raise SettingsError(
                "--compile-layers: yes needs --route auto or forward and the native backend; found "
                f"--route {self.route} --backend {self.backend}"
            )
        if self.compute_dtype != "same" and self.compile_layers == "no":
            raise SettingsError(
                f"--compute-dtype: {self.compute_dtype} needs --compile-layers yes; or load with --dtype "
                f"{self.compute_dtype}"
            )
        if self.basis_storage == "none" and (self.top, self.bottom) != (1, 1):
            raise SettingsError(
                f"--basis-storage: none gives the largest and the smallest eigenvalue; found --top {self.top} "
                f"--bottom {self.bottom}, expected --top 1 --bottom 1"
            )
        least = self.top + self.bottom + 3
        if self.basis_size < least:
            raise SettingsError(f"--basis-size: found {self.basis_size}; expected at least top + bottom + 3 = {least}")

    def _refuse_what_pyhessian_ignores(self) -> None:
        unused = ["tolerance"]
        if set(self.metrics) <= {"top", "trace"}:
            unused += ["route", "basis_size", "basis_storage", "basis_dtype"]
        defaults = {entry.name: entry.default for entry in fields(self)}
        for name in unused:
            if getattr(self, name) != defaults[name]:
                raise SettingsError(
                    f"{_flag(name)}: found {getattr(self, name)}; --backend pyhessian has rules of its own for this, "
                    "leave it off"
                )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsError(message)


def read_settings(arguments: Sequence[str]) -> MeasureSettings:
    """Read the command line.

    Raises:
        SettingsError: At the first flag that cannot be used.
    """
    parser = _Parser(
        prog="python -m analysis.measure",
        description="Measure how flat a minimum is: eigenvalues, density, trace, sharpness, landscape and capture, in "
        "the full space of merged weights, in the LoRA space, or any other. What is finished is kept: the same "
        "command goes on where it stopped.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    for entry in fields(MeasureSettings):
        shown = ",".join(map(str, entry.default)) if isinstance(entry.default, tuple) else entry.default
        parser.add_argument(
            _flag(entry.name),
            metavar=entry.metadata["metavar"],
            help=f"{entry.metadata['help']}" + (f" (default: {shown})" if shown not in (None, "") else ""),
        )
    known, unknown = parser.parse_known_args(arguments)
    if unknown:
        names = [_flag(entry.name) for entry in fields(MeasureSettings)]
        given = unknown[0].split("=")[0]
        raise SettingsError(f"unknown argument {given!r}{nearest(given, names)}; --help lists all flags")
    return MeasureSettings(**{name: _read(name, raw) for name, raw in vars(known).items()})


def _read(name: str, raw: str) -> Any:
    reader = next(entry for entry in fields(MeasureSettings) if entry.name == name).metadata["reader"]
    try:
        return reader(raw)
    except SettingsError:
        raise
    except ValueError as error:
        raise SettingsError(f"{_flag(name)}: found {raw!r}; expected {error}") from None


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
