"""Make a pocket base from nothing: `python -m benchmarks.pocket.pretrain --model pocket-llama`.

This is the command line of `benchmarks.pocket.recipe`. It refuses a folder that already holds weights unless told to
overwrite it, values that are not positive, and a device that is not there. Torch is imported only once the options
have been read: the processes that generate the corpus import this module again and need none of it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.pocket import POCKET_MODELS
from benchmarks.pocket.budgets import BUDGETS


class PretrainError(ValueError):
    """A pretraining run that cannot start; the message names the flag to change."""


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.pocket.pretrain", description="Make a pocket base from nothing."
    )
    options.add_argument("--model", default="pocket-llama", choices=tuple(BUDGETS), help="which base")
    options.add_argument("--out", type=Path, help="folder to write (default: the one that ships)")
    options.add_argument("--overwrite", action="store_true", help="replace weights that are already in the folder")
    options.add_argument("--tokens", type=int, help=f"training tokens ({_defaults('tokens')})")
    options.add_argument("--minutes", type=float, help=f"limit on the training time ({_defaults('minutes')})")
    options.add_argument(
        "--corpus-tokens", type=int, help=f"distinct tokens; more are repetitions ({_defaults('corpus_tokens')})"
    )
    options.add_argument("--shard-tokens", type=int, help=f"tokens in a shard ({_defaults('shard_tokens')})")
    options.add_argument("--batch-rows", type=int, help=f"rows in a step ({_defaults('batch_rows')})")
    options.add_argument("--learning-rate", type=float, help=f"peak learning rate ({_defaults('learning_rate')})")
    options.add_argument("--seed", type=int, default=0, help="seed of corpus and weights (%(default)s)")
    options.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    options.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that generate text")
    options.add_argument("--compile", action="store_true", help="compile the model (pays from about a minute on)")
    options.add_argument(
        "--cuda-graphs", action="store_true", help="replay passes as CUDA graphs (pays where kernels are small)"
    )
    options.add_argument("--smoke", action="store_true", help="try the recipe out in seconds; the model is useless")
    return options


def _defaults(field: str) -> str:
    values = {model: getattr(budget, field) for model, budget in BUDGETS.items()}
    return ", ".join(f"{model} {'none' if value is None else f'{value:g}'}" for model, value in values.items())


def fill_in(options: argparse.Namespace) -> None:
    """Set what was not given to the base's own budget; a limit in tokens alone lifts the one in minutes."""
    budget = BUDGETS[options.model]
    if options.tokens is None and options.minutes is None:
        options.minutes = budget.minutes
    for field in ("tokens", "corpus_tokens", "shard_tokens", "batch_rows", "learning_rate"):
        if getattr(options, field) is None:
            setattr(options, field, getattr(budget, field))


def check(options: argparse.Namespace) -> None:
    """Refuse what cannot work before any work starts.

    Raises:
        PretrainError: With what was found, what was expected, and the flag.
    """
    for flag in ("tokens", "corpus_tokens", "shard_tokens", "batch_rows", "workers", "learning_rate", "minutes"):
        value = getattr(options, flag)
        if value is not None and not value > 0:
            raise PretrainError(f"--{flag.replace('_', '-')}: found {value}, expected a positive number")
    if options.compile and options.cuda_graphs:
        raise PretrainError("--cuda-graphs: a compiled model is not recorded; leave out --compile or --cuda-graphs")
    weights = ("model.safetensors", "unet/diffusion_pytorch_model.safetensors")
    if any((options.out / name).exists() for name in weights) and not options.overwrite:
        raise PretrainError(f"--out: {options.out} already holds weights; choose another folder or add --overwrite")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=options.out).close()
    except OSError as error:
        raise PretrainError(f"--out: cannot write to {options.out} ({error}); choose another folder") from error


def _recipe(model: str) -> Callable[[argparse.Namespace, str], Any]:
    """Return the recipe of a base; each is imported only where it is meant."""
    if model == "pocket-sdxl":
        from benchmarks.pocket.sdxl_recipe import pretrain as pictures

        return pictures
    from benchmarks.pocket.recipe import pretrain as text

    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run; returns the exit code (2 for bad input)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(given)
    fill_in(options)
    options.out = options.out or POCKET_MODELS / options.model
    try:
        check(options)
        record = _recipe(options.model)(options, " ".join(["python -m benchmarks.pocket.pretrain", *given]))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: " + ", ".join(f"{name} {rate:.1%}" for name, rate in record.pass_rate.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
