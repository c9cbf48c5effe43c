"""The twenty-six things that the pictures show, as signed distances in a frame of about one unit around the origin."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.pocket.pictures.distances import (
    Field,
    Plane,
    Point,
    both,
    box,
    circle,
    polygon,
    segment,
    union,
    without,
)

Subject = Callable[[Plane], Field]

# Unit vectors in steps of 36 degrees, written out: sines may round differently from machine to machine.
_TENTHS: tuple[Point, ...] = (
    (0.0, -1.0),
    (0.588, -0.809),
    (0.951, -0.309),
    (0.951, 0.309),
    (0.588, 0.809),
    (0.0, 1.0),
    (-0.588, 0.809),
    (-0.951, 0.309),
    (-0.951, -0.309),
    (-0.588, -0.809),
)


def _star(p: Plane) -> Field:
    lengths = (1.0, 0.42) * 5
    return polygon(p, [(r * x, r * y) for r, (x, y) in zip(lengths, _TENTHS, strict=True)])


def _heart(p: Plane) -> Field:
    lobes = union(circle(p, (-0.42, -0.3), 0.48), circle(p, (0.42, -0.3), 0.48))
    return union(lobes, polygon(p, [(-0.84, -0.08), (0.0, -0.3), (0.84, -0.08), (0.0, 0.92)]))


def _moon(p: Plane) -> Field:
    return without(circle(p, (-0.1, 0.0), 0.9), circle(p, (0.38, -0.12), 0.74))


def _house(p: Plane) -> Field:
    walls = union(box(p, (0.0, 0.4), (0.62, 0.5)), polygon(p, [(-0.95, -0.02), (0.0, -0.92), (0.95, -0.02)]))
    return without(walls, box(p, (0.0, 0.6), (0.17, 0.32)))


def _tree(p: Plane) -> Field:
    crown = union(
        polygon(p, [(-0.6, 0.0), (0.0, -0.98), (0.6, 0.0)]), polygon(p, [(-0.82, 0.55), (0.0, -0.45), (0.82, 0.55)])
    )
    return union(crown, box(p, (0.0, 0.75), (0.16, 0.25)))


def _fish(p: Plane) -> Field:
    body = both(circle(p, (-0.2, 0.42), 0.85), circle(p, (-0.2, -0.42), 0.85))
    return without(union(body, polygon(p, [(0.38, 0.0), (0.98, -0.5), (0.98, 0.5)])), circle(p, (-0.55, -0.08), 0.12))


def _mushroom(p: Plane) -> Field:
    cap = both(circle(p, (0.0, 0.0), 0.92), box(p, (0.0, -0.5), (1.0, 0.5)))
    return union(cap, box(p, (0.0, 0.4), (0.28, 0.5), round_by=0.12))


def _cup(p: Plane) -> Field:
    handle = without(circle(p, (0.5, 0.0), 0.46), circle(p, (0.5, 0.0), 0.24))
    return union(box(p, (-0.2, 0.05), (0.6, 0.72), round_by=0.15), handle)


def _flag(p: Plane) -> Field:
    return union(box(p, (-0.66, 0.0), (0.1, 0.98)), polygon(p, [(-0.6, -0.95), (0.9, -0.45), (-0.6, 0.1)]))


def _arrow(p: Plane) -> Field:
    return union(box(p, (-0.35, 0.0), (0.6, 0.2)), polygon(p, [(0.1, -0.7), (0.98, 0.0), (0.1, 0.7)]))


def _umbrella(p: Plane) -> Field:
    roof = both(circle(p, (0.0, 0.0), 0.95), box(p, (0.0, -0.5), (1.0, 0.5)))
    hook = without(circle(p, (0.2, 0.72), 0.28), circle(p, (0.2, 0.72), 0.11), box(p, (0.2, 0.4), (0.4, 0.32)))
    return union(roof, box(p, (0.0, 0.35), (0.08, 0.4)), hook)


def _boat(p: Plane) -> Field:
    hull = polygon(p, [(-0.95, 0.3), (0.95, 0.3), (0.55, 0.85), (-0.55, 0.85)])
    sails = union(
        polygon(p, [(0.06, -0.95), (0.06, 0.15), (0.8, 0.15)]), polygon(p, [(-0.1, -0.6), (-0.1, 0.15), (-0.62, 0.15)])
    )
    return union(hull, sails, box(p, (-0.02, -0.2), (0.05, 0.55)))


def _balloon(p: Plane) -> Field:
    return union(
        circle(p, (0.0, -0.32), 0.62),
        polygon(p, [(-0.16, 0.45), (0.0, 0.2), (0.16, 0.45)]),
        segment(p, (0.0, 0.4), (0.14, 0.95), 0.06),
    )


def _bell(p: Plane) -> Field:
    dome = both(circle(p, (0.0, -0.2), 0.62), box(p, (0.0, -0.5), (1.0, 0.5)))
    skirt = polygon(p, [(-0.58, -0.2), (0.58, -0.2), (0.9, 0.58), (-0.9, 0.58)])
    return union(dome, skirt, circle(p, (0.0, 0.72), 0.2), circle(p, (0.0, -0.85), 0.12))


def _car(p: Plane) -> Field:
    body = union(
        box(p, (0.0, 0.15), (0.98, 0.26), round_by=0.1),
        polygon(p, [(-0.6, 0.0), (-0.38, -0.5), (0.3, -0.5), (0.62, 0.0)]),
    )
    return union(body, circle(p, (-0.52, 0.42), 0.26), circle(p, (0.52, 0.42), 0.26))


def _bolt(p: Plane) -> Field:
    return polygon(p, [(0.2, -0.98), (-0.6, 0.15), (-0.05, 0.15), (-0.25, 0.98), (0.6, -0.25), (0.05, -0.25)])


def _drop(p: Plane) -> Field:
    return union(circle(p, (0.0, 0.32), 0.6), polygon(p, [(-0.5, 0.02), (0.0, -0.98), (0.5, 0.02)]))


def _flower(p: Plane) -> Field:
    petals = [circle(p, (0.56 * x, 0.56 * y), 0.36) for x, y in _TENTHS[::2]]
    return without(union(*petals), circle(p, (0.0, 0.0), 0.26))


def _cloud(p: Plane) -> Field:
    puffs = union(circle(p, (-0.5, 0.12), 0.38), circle(p, (0.5, 0.16), 0.36), circle(p, (0.0, -0.14), 0.52))
    return union(puffs, box(p, (0.0, 0.32), (0.55, 0.18)))


def _rocket(p: Plane) -> Field:
    body = both(circle(p, (-0.6, 0.0), 0.98), circle(p, (0.6, 0.0), 0.98))
    fins = union(
        polygon(p, [(-0.28, 0.2), (-0.75, 0.9), (-0.2, 0.65)]), polygon(p, [(0.28, 0.2), (0.75, 0.9), (0.2, 0.65)])
    )
    return without(union(body, fins), circle(p, (0.0, -0.2), 0.15))


SUBJECTS: dict[str, Subject] = {
    "circle": lambda p: circle(p, (0.0, 0.0), 0.88),
    "square": lambda p: box(p, (0.0, 0.0), (0.8, 0.8)),
    "triangle": lambda p: polygon(p, [(-0.95, 0.75), (0.0, -0.9), (0.95, 0.75)]),
    "star": _star,
    "ring": lambda p: without(circle(p, (0.0, 0.0), 0.92), circle(p, (0.0, 0.0), 0.5)),
    "cross": lambda p: union(box(p, (0.0, 0.0), (0.9, 0.27)), box(p, (0.0, 0.0), (0.27, 0.9))),
    "diamond": lambda p: polygon(p, [(0.0, -0.98), (0.66, 0.0), (0.0, 0.98), (-0.66, 0.0)]),
    "heart": _heart,
    "moon": _moon,
    "house": _house,
    "tree": _tree,
    "fish": _fish,
    "mushroom": _mushroom,
    "cup": _cup,
    "flag": _flag,
    "arrow": _arrow,
    "umbrella": _umbrella,
    "boat": _boat,
    "balloon": _balloon,
    "bell": _bell,
    "car": _car,
    "bolt": _bolt,
    "drop": _drop,
    "flower": _flower,
    "cloud": _cloud,
    "rocket": _rocket,
}
