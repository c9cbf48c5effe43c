"""The table and the words of a comparison of two stores."""

from __future__ import annotations

from reports.against import Change
from reports.crossed import Measured
from reports.layout import Cell, Column, Group, Line, Table, Writer, difference_cell, estimate_cell, hole
from reports.quantities import MINUS, significant, spoken
from reports.style import method_label

_COLUMNS = (
    Column(title="Here", unit="score", definition="Mean score in this store, with its standard error over seeds."),
    Column(title="There", unit="score", definition="Mean score in the other store."),
    Column(
        title="Change",
        unit="points",
        definition="Here minus there with its 95 % interval: paired over shared seeds and test examples where both "
        "stores answered the same ones, else between the means.",
    ),
    Column(
        title="Beyond noise",
        unit="",
        definition="Whether the probability of the change, Holm-corrected for all scores compared, is below 5 %.",
    ),
    Column(title="Test loss", unit="change", definition="Change of the loss on the test set, seed by seed."),
    Column(title="Cost", unit="change, gradients", definition="Change of a step's time in gradients, seed by seed."),
    Column(title="Settings", unit="", definition="How the settings here differ from those there."),
)


def against_table(changes: tuple[Change, ...], other: str) -> Table:
    """Lay out the changes, one group of rows a task; `other` names the store that is compared with."""
    tasks = tuple(dict.fromkeys(change.task for change in changes))
    # Tasks that this store knows nothing of would be holes alone.
    elsewhere = tuple(task for task in tasks if all(not c.planned for c in changes if c.task == task))
    tasks = tuple(task for task in tasks if task not in elsewhere)
    also = (f"Only in {other}: {', '.join(elsewhere)}.",) if elsewhere else ()
    return Table(
        name="against",
        caption=f"Changes against {other}.",
        columns=_COLUMNS,
        groups=tuple(
            Group(title=task, lines=tuple(_line(change) for change in changes if change.task == task)) for task in tasks
        ),
        notes=(against_sentence(changes), *also),
    )


def against_sentence(changes: tuple[Change, ...]) -> str:
    """Say in words what changed beyond noise."""
    compared = [change for change in changes if change.score is not None]
    if not compared:
        bare = sum(change.bare is not None for change in changes)
        single = f" Of {spoken(bare, 'method')} one seed is shared, whose difference has no interval." if bare else ""
        return f"No score could be compared.{single}"
    beyond = [change for change in compared if change.verdict.endswith("beyond noise")]
    same = sum(change.identical for change in compared)
    named = "; ".join(f"{method_label(c.method)} on {c.task} {c.verdict.split(',')[0]}" for c in beyond)
    rest = len(compared) - len(beyond) - same
    text = f"{spoken(len(compared), 'score')} compared: "
    text += f"{spoken(len(beyond), 'change')} beyond noise ({named}), " if beyond else "no change beyond noise, "
    text += f"{spoken(rest, 'change')} within noise, {same} identical."
    return text[0].upper() + text[1:]


def _line(change: Change) -> Line:
    metric = change.metric
    scores = [
        hole(change.reason or "not every run has a score") if found is None else estimate_cell(found, metric.mark)
        for found in (change.here, change.there)
    ]
    return Line(
        method=change.method,
        label=method_label(change.method),
        cells=(
            *scores,
            _change(change),
            hole(change.reason) if change.score is None else _verdict(change),
            _optional(change.loss, "test loss"),
            _optional(change.cost, "cost in gradients"),
            Cell(text=change.settings or "the same") if change.here and change.there else hole(change.reason),
        ),
    )


def _change(change: Change) -> Cell:
    if change.score is not None:
        return _interval(change.score, change.metric.difference, change.how)
    if change.bare is None:
        return hole(change.reason)
    numbers = (("value", change.bare),)
    return Cell(text=change.metric.difference(change.bare), detail="one shared seed, no interval", numbers=numbers)


def _interval(found: Measured, write: Writer, how: str) -> Cell:
    cell = difference_cell(found.value, found.low, found.high, write)
    detail = cell.detail + (", unpaired" if how == "unpaired" else "")
    return Cell(text=cell.text, detail=detail, numbers=(*cell.numbers, ("probability", found.probability)))


def _verdict(change: Change) -> Cell:
    numbers = () if change.adjusted is None else (("holm_probability", change.adjusted),)
    return Cell(text=change.verdict, numbers=numbers)


def _optional(found: Measured | None, what: str) -> Cell:
    if found is None:
        return hole(f"fewer than two shared seeds recorded their {what}")

    def write(value: float) -> str:
        return ("+" if value > 0 else "") + significant(value, 2).replace("-", MINUS)

    return difference_cell(found.value, found.low, found.high, write)
