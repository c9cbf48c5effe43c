"""Landscapes: the loss along lines and over planes, and the directions that these follow."""

from analysis.landscape.direction_file import load_directions, save_directions
from analysis.landscape.directions import filter_normalise, filter_normalised_direction, init_to_final, unit_direction
from analysis.landscape.lines import Line, Slices, line, slices
from analysis.landscape.plane import Plane, plane
from analysis.landscape.positions import covering_alphas, symmetric_alphas
from analysis.landscape.trajectory import Trajectory, trajectory_directions

__all__ = [
    "Line",
    "Plane",
    "Slices",
    "Trajectory",
    "covering_alphas",
    "filter_normalise",
    "filter_normalised_direction",
    "init_to_final",
    "line",
    "load_directions",
    "plane",
    "save_directions",
    "slices",
    "symmetric_alphas",
    "trajectory_directions",
    "unit_direction",
]
