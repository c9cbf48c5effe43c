"""`python -m benchmarks.curvature scaling`: how the cost of a product grows with parameters and with tokens.

One list of Llama shapes from a million to seven billion decoder weights at a fixed number of tokens, and one list of
token counts at a fixed shape, each with gradient, Hessian and Gauss-Newton products on the same data. Slopes in log-log
coordinates over the upper half of each list are printed at the end.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import numpy as np
import torch

from benchmarks import parsing
from benchmarks.curvature.products import GAUSS_NEWTON, measure_gradient, measure_product, workload
from benchmarks.curvature.records import CurvatureRecord, RecordFile
from benchmarks.curvature.shapes import DTYPES, LlamaShape, random_llama, token_batches
from benchmarks.errors import UsageError, first_line, nearest
from benchmarks.flags import add_common_flags, each, read_device, read_flags, read_out
from benchmarks.one_line_parser import OneLineParser

VOCABULARY = 8192
SHAPES = {
    "1M": LlamaShape(128, 448, 5, 4, 1, VOCABULARY),
    "10M": LlamaShape(384, 1344, 5, 6, 2, VOCABULARY),
    "100M": LlamaShape(1024, 3584, 8, 8, 2, VOCABULARY),
    "1B": LlamaShape(2048, 7168, 18, 16, 4, VOCABULARY),
    "3B": LlamaShape(3072, 10752, 25, 24, 6, VOCABULARY),
    "7B": LlamaShape(4096, 14336, 32, 32, 8, VOCABULARY),
}


def measure(
    file: RecordFile,
    *,
    sizes: Sequence[str],
    rows: Sequence[int],
    base: str,
    tokens: int,
    micro_rows: int,
    dtype: torch.dtype,
    repeats: int,
) -> None:
    """Measure every size at the first number of rows, and the base size at every number of rows.

    Args:
        file: Where the records go.
        sizes: Keys of `SHAPES`.
        rows: Numbers of rows.
        base: Size whose tokens are varied.
        tokens: Tokens per row.
        micro_rows: Rows of one forward pass.
        dtype: Type of weights and vectors.
        repeats: Timed calls.
    """
    for size in sizes:
        try:
            model = random_llama(SHAPES[size], device=file.device, dtype=dtype)
        except torch.OutOfMemoryError as error:
            file.add(CurvatureRecord(case=size, device=file.name, quantity="product", error=first_line(error)))
            continue
        for count in rows if size == base else rows[:1]:
            batches = token_batches(
                SHAPES[size], rows=count, tokens=tokens, micro_rows=min(micro_rows, count), device=file.device
            )
            vectors = dtype if dtype is torch.bfloat16 else None
            work = workload(model, batches, case=f"{size} weights, {count}x{tokens} tokens", dtype=vectors)
            gradient = measure_gradient(work, file, repeats=repeats)
            for route in ("reverse", GAUSS_NEWTON):
                measure_product(work, file, route, repeats=repeats, gradient_seconds=gradient, limit_gb=math.inf)
        del model, work


def slope(records: Sequence[CurvatureRecord], quantity: str, against: str) -> float | None:
    """Return d log seconds / d log `against` by least squares, or None for too few points.

    Of the points in the order of `against` those from the (lower) median on count.

    Args:
        records: Records of one list, in which only `against` varies.
        quantity: `gradient`, `product` or `gauss-newton`.
        against: `parameters` or `tokens`.
    """
    found = sorted(
        (getattr(r, against), r.seconds) for r in records if r.quantity == quantity and r.seconds is not None
    )
    upper = found[max(len(found) - 1, 0) // 2 :]
    if len({x for x, _ in upper}) < 2:
        return None
    x, y = np.log(np.array(upper, dtype=float)).T
    return float(np.polyfit(x, y, 1)[0])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0: done, 2: bad input)."""
    parser = OneLineParser(prog="python -m benchmarks.curvature scaling", description=__doc__.split("\n\n")[1])
    add_common_flags(parser)
    whole = parsing.integer(minimum=1)
    readers: dict[str, tuple[str, parsing.Reader, str]] = {
        "sizes": (",".join(SHAPES), parsing.names, "decoder weights of the models"),
        "base": ("1B", parsing.choice(*SHAPES), "size whose tokens are varied"),
        "rows": ("4,1,2,8,16,32", each(whole), "rows: the first for all sizes, the others for the base size"),
        "tokens": ("256", parsing.integer(minimum=2), "tokens per row"),
        "micro_rows": ("4", whole, "rows of one forward pass"),
        "dtype": ("bfloat16", parsing.choice(*DTYPES), "type of weights and vectors"),
        "repeats": ("3", whole, "timed calls, after one that is not"),
    }
    for flag, (default, _, help_text) in readers.items():
        parser.add_argument(f"--{flag.replace('_', '-')}", default=default, help=f"{help_text} (default: {default})")
    try:
        options = parser.parse_args(arguments)
        values = read_flags(options, {flag: reader for flag, (_, reader, _) in readers.items()})
        if unknown := [size for size in values["sizes"] if size not in SHAPES]:
            close = nearest(unknown[0], SHAPES)
            raise UsageError(f"--sizes: unknown size {unknown[0]!r}{close}; known: {', '.join(SHAPES)}")
        file = RecordFile(read_out(options), read_device(options))
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    values["dtype"] = DTYPES[values["dtype"]]
    measure(file, **values)
    _print_slopes(file.records, base=values["base"], rows=values["rows"][0])
    return 0


def _print_slopes(records: Sequence[CurvatureRecord], *, base: str, rows: int) -> None:
    lists = {
        "parameters": [r for r in records if f", {rows}x" in r.case],
        "tokens": [r for r in records if r.case.startswith(f"{base} ")],
    }
    for against, chosen in lists.items():
        for quantity in ("gradient", "product", GAUSS_NEWTON):
            found = slope(chosen, quantity, against)
            print(f"slope of log seconds of {quantity} in log {against}: {'-' if found is None else f'{found:.2f}'}")


if __name__ == "__main__":
    sys.exit(main())
