"""Our algorithms beside those of other libraries on one case, at equal accuracy or at equal products.

For the top eigenvalues every library climbs its own settings from cheap to exact, and the first is reported with which
the values of all seeds are truly as exact as asked for; a library that never is, with its best. Trace and density
are compared at equal products, by the error that came out. A peer that is not installed leaves a note.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from analysis import SpectralDensity
from benchmarks.curvature.peer_cases import PeerCase
from benchmarks.curvature.peer_references import (
    density_error,
    density_reference,
    top_reference,
    trace_reference,
)
from benchmarks.curvature.peer_routes import (
    PYHESSIAN,
    Answer,
    Route,
    density_routes,
    top_routes,
    trace_routes,
    version,
)
from benchmarks.curvature.records import CurvatureRecord, Peak, RecordFile, median_seconds
from benchmarks.errors import first_line

Score = Callable[[Answer], float]
Reduce = Callable[[Sequence[float]], float]
QUANTITIES = ("top", "trace", "density")


@dataclass(frozen=True, kw_only=True)
class PeerSettings:
    """What is compared.

    Attributes:
        quantities: Any of `QUANTITIES`.
        count: Top eigenvalues.
        accuracy: Largest relative error of any of them, over the seeds.
        seeds: Runs of every setting.
        products: Products of a trace.
        draws: Probes of a density.
        steps: Lanczos steps of a probe.
        reference_products: Products of the trace's reference.
        reference_draws: Probes of the density's reference, each of twice the steps.
        iterations: PyHessian's most iterations for each eigenvalue.
        peer_seconds: No further setting is tried once a library has taken this long on a case.
    """

    quantities: tuple[str, ...]
    count: int
    accuracy: float
    seeds: int
    products: int
    draws: int
    steps: int
    reference_products: int
    reference_draws: int
    iterations: int
    peer_seconds: float


@dataclass(frozen=True)
class Outcome:
    """What a library reached on a case.

    Attributes:
        seconds: Median over the seeds.
        products: Median over the seeds.
        error: Largest over the seeds for eigenvalues, root mean square for a trace, mean for a density.
        peak_gb: Peak memory.
        note: Its setting, and whether it fell short.
    """

    seconds: float
    products: int
    error: float
    peak_gb: float
    note: str


def compare(case: PeerCase, file: RecordFile, settings: PeerSettings) -> None:
    """Record every quantity of a case, ours beside each peer."""
    print(f"{case.described()}: references ...", flush=True)
    objective, space = case.objective, case.space
    with space:
        gradient = median_seconds(lambda: objective.gradient(space.tensors), device=file.device, repeats=5)
    case_name = case.described() + ("" if case.trained else ", random weights")
    blank = CurvatureRecord(case=case_name, device=file.name, quantity="", gradient_seconds=gradient)
    blank = replace(blank, parameters=space.dimension)
    if "top" in settings.quantities:
        _compare_top(case, file, settings, blank)
    if "trace" in settings.quantities:
        exact = trace_reference(case, settings.reference_products)
        note = f"reference {exact.value:.5g} +- {exact.standard_error:.1g} from {exact.products} products"
        errors = _trace_score(exact.value)
        quantity = replace(blank, quantity=f"trace from {settings.products} products", note=note)
        _record(case, file, settings, quantity, [(route, errors) for route in trace_routes(settings.products)], _rms)
    if "density" in settings.quantities:
        density = density_reference(case, settings.reference_draws, 2 * settings.steps)
        note = (
            f"reference: {density.draws} probes of {density.steps} steps, cumulative to {density.cumulative_error:.1g}"
        )
        distance = _density_score(density)
        quantity = replace(blank, quantity=f"density, {settings.draws} probes of {settings.steps} steps", note=note)
        routes = [(route, distance) for route in density_routes(settings.draws, settings.steps)]
        _record(case, file, settings, quantity, routes, statistics.fmean)


def _compare_top(case: PeerCase, file: RecordFile, settings: PeerSettings, blank: CurvatureRecord) -> None:
    """Compare algebraically; PyHessian against its own definition, which is noted where it differs."""
    exact = top_reference(case, settings.count)
    same = exact.algebraic == exact.magnitudes
    note = exact.note if same else f"{exact.note}; PyHessian's are by magnitude and others, {_listed(exact.magnitudes)}"
    routes: list[tuple[Route, Score]] = []
    for route in top_routes(settings.count, iterations=settings.iterations):
        expected = exact.magnitudes if route.library == PYHESSIAN else exact.algebraic
        routes.append((route, _eigenvalue_score(expected)))
    quantity = replace(blank, quantity=f"top-{settings.count} at {settings.accuracy:g}", note=note)
    _record(case, file, settings, quantity, routes, max)


def _trace_score(expected: float) -> Score:
    return lambda answer: abs(float(answer.value) / expected - 1.0)


def _density_score(reference: SpectralDensity) -> Score:
    return lambda answer: density_error(answer.value, reference)


def _eigenvalue_score(expected: Sequence[float]) -> Score:
    def score(answer: Answer) -> float:
        return max(abs(float(found) / value - 1.0) for found, value in zip(answer.value, expected, strict=True))

    return score


def _record(
    case: PeerCase,
    file: RecordFile,
    settings: PeerSettings,
    blank: CurvatureRecord,
    routes: list[tuple[Route, Score]],
    reduce: Reduce,
) -> None:
    """Run ours, the first route, and every installed peer, and record each pair as soon as it is known."""
    ours = _climb(case, file, settings, *routes[0], reduce)
    base = replace(
        blank,
        route="reverse",
        seconds=ours.seconds,
        products=ours.products,
        relative_error=ours.error,
        peak_gb=ours.peak_gb,
    )
    for route, score in routes[1:]:
        note = f"{blank.note}; ours: {ours.note}"
        if not version(route.library):
            file.add(replace(base, note=f"{note}; {route.library} is not installed"))
            continue
        name = f"{route.library} {version(route.library)}"
        try:
            peer = _climb(case, file, settings, route, score, reduce)
        except RuntimeError as error:
            # A library that cannot do it is an outcome; what the others reached is kept.
            file.add(replace(base, peer=name, note=f"{note}; peer failed: {first_line(error)}"))
            continue
        file.add(
            replace(
                base,
                peer=name,
                peer_seconds=peer.seconds,
                peer_products=peer.products,
                peer_relative_error=peer.error,
                peer_peak_gb=peer.peak_gb,
                note=f"{note}; peer: {peer.note}",
            )
        )


def _climb(
    case: PeerCase, file: RecordFile, settings: PeerSettings, route: Route, score: Score, reduce: Reduce
) -> Outcome:
    """Return the outcome of the first setting that is exact enough, or else of the most exact one that was tried."""
    started, best = time.perf_counter(), None
    # What only the first call of a process pays (kernels, thread pools) is not a library's.
    route.run(case, route.settings[0], 0, file.device)
    for setting in route.settings:
        peak, answers, errors = Peak(file.device), list[Answer](), list[float]()
        for seed in range(settings.seeds):
            answers.append(route.run(case, setting, seed, file.device))
            errors.append(score(answers[-1]))
            if len(route.settings) > 1 and errors[-1] > settings.accuracy:
                break
        outcome = Outcome(
            seconds=statistics.median(answer.seconds for answer in answers),
            products=round(statistics.median(answer.products for answer in answers)),
            error=reduce(errors),
            peak_gb=peak.gigabytes(),
            note=f"{route.setting_name} {setting:g}",
        )
        enough = len(route.settings) == 1 or outcome.error <= settings.accuracy
        best = outcome if enough or best is None or outcome.error < best.error else best
        if enough:
            return outcome
        if time.perf_counter() - started > settings.peer_seconds:
            break
    assert best is not None
    return replace(best, note=f"{best.note}, which did not reach the accuracy")


def _rms(errors: Sequence[float]) -> float:
    return math.sqrt(statistics.fmean(error**2 for error in errors))


def _listed(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4g}" for value in values)
