"""Colours: readable on both papers, and apart under colour blindness."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from reports.style import (
    DARK_PAPER,
    LIGHT_PAPER,
    METHODS,
    method_style,
    order_spaces,
    space_label,
    space_phrase,
    task_look,
)

# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
CONFUSIONS = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    low, high = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    x, y, z = np.cbrt(np.clip(to_xyz @ np.clip(rgb, 0, 1) / [0.95047, 1.0, 1.08883], 1e-9, None))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("name", [*METHODS, "something-new"])
def test_every_colour_reads_on_light_and_dark(name: str) -> None:
    colour = method_style(name).colour
    assert contrast(colour, LIGHT_PAPER) >= 3.0
    assert contrast(colour, DARK_PAPER) >= 3.0


@pytest.mark.parametrize("sight", CONFUSIONS)
def test_the_three_main_methods_stay_apart(sight: str) -> None:
    colours = [lab(CONFUSIONS[sight] @ linear(method_style(name).colour)) for name in ("lora", "lora-sam", "bilora")]
    distances = [np.linalg.norm(colours[i] - colours[j]) for i in range(3) for j in range(i)]
    assert min(distances) > 20.0


def test_no_two_methods_share_colour_and_marker() -> None:
    looks = [(colour, marker) for _, colour, marker in METHODS.values()]
    assert len(set(looks)) == len(looks)


def test_a_variant_keeps_the_colour_of_its_method_and_is_hollow() -> None:
    plain, variant = method_style("bilora"), method_style("dora+bilora")
    assert (variant.colour, variant.marker) == (plain.colour, plain.marker)
    assert variant.label == "DoRA + Bi-LoRA"
    assert variant.hollow
    assert not plain.hollow


def test_an_unknown_method_has_a_fixed_look_under_its_own_name() -> None:
    assert method_style("new-method") == method_style("new-method")
    assert method_style("new-method").label == "new-method"


def test_spaces_are_named_and_ordered() -> None:
    assert order_spaces({"layer:q", "lora", "full"}) == ("full", "lora", "layer:q")
    assert space_label("full") == "Full space (merged W)"
    assert (space_phrase("lora"), space_phrase("layer:q")) == ("the LoRA space", "the space layer:q")


@pytest.mark.parametrize("sight", CONFUSIONS)
def test_lines_of_tasks_differ_in_marker_and_neighbours_in_colour(sight: str) -> None:
    looks = [task_look(place) for place in range(10)]
    assert len({look["marker"] for look in looks}) == 10
    colours = [lab(CONFUSIONS[sight] @ linear(look["color"])) for look in looks]
    distances = [np.linalg.norm(one - other) for one, other in itertools.pairwise(colours)]
    assert min(distances) > 10.0
