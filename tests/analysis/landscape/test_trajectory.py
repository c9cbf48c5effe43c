from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis import Objective, SettingsError, parameter_space, read_adapter, vectors
from analysis.landscape import trajectory_directions
from analysis.low_rank import dense


def walk(count: int = 7) -> list[list[torch.Tensor]]:
    generator = np.random.default_rng(0)
    steps = generator.standard_normal((count, 11)).cumsum(axis=0) * np.linspace(3.0, 0.1, 11)
    return [[torch.as_tensor(row[:5]).reshape(1, 5), torch.as_tensor(row[5:])] for row in steps]


def flat(vector: list[torch.Tensor]) -> np.ndarray:
    return torch.cat([block.flatten() for block in vector]).numpy()


def test_directions_and_variance_are_those_of_a_principal_component_analysis() -> None:
    points = walk()
    matrix = np.stack([flat(p) for p in points])
    record, directions = trajectory_directions(points)
    _, values, right = np.linalg.svd(matrix - matrix.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(record.explained, values[:2] ** 2 / (values**2).sum(), rtol=1e-9)
    basis = np.stack([flat(d) for d in directions])
    np.testing.assert_allclose(basis @ basis.T, np.eye(2), atol=1e-10)
    np.testing.assert_allclose(np.abs(basis @ right[:2].T), np.eye(2), atol=1e-8)
    moves = matrix - matrix[-1]
    np.testing.assert_allclose(record.coordinates, moves @ basis.T, atol=1e-10)
    np.testing.assert_allclose(record.distances, np.linalg.norm(moves, axis=1), atol=1e-10)
    np.testing.assert_allclose(record.residuals, np.linalg.norm(moves - moves @ basis.T @ basis, axis=1), atol=1e-6)
    assert record.coordinates[-1] == (0.0, 0.0)
    assert max(record.coordinates[0]) <= 0.0


def test_factors_give_what_their_products_give() -> None:
    generator = torch.Generator().manual_seed(0)

    def factors(rank: int, m: int, n: int):
        a = torch.randn(rank, n, generator=generator, dtype=torch.float64)
        return a, torch.randn(m, rank, generator=generator, dtype=torch.float64), 1.5

    checkpoints = [[factors(2, 6, 5), factors(3, 4, 7)] for _ in range(5)]
    record, directions = trajectory_directions(checkpoints, components=3)
    expected, merged = trajectory_directions([[dense(f) for f in c] for c in checkpoints], components=3)
    np.testing.assert_allclose(record.coordinates, expected.coordinates, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(record.explained, expected.explained, rtol=1e-9)
    for one, other in zip(directions, merged, strict=True):
        assert vectors.norm(vectors.axpy(-1.0, one, other)) < 1e-9


def test_a_straight_path_is_explained_by_one_direction() -> None:
    points = [[torch.tensor([2.0 * t, -t]).double()] for t in (0.0, 1.0, 2.0, 5.0)]
    record, (direction,) = trajectory_directions(points, components=1)
    assert record.explained == (pytest.approx(1.0),)
    assert [c[0] for c in record.coordinates] == pytest.approx([-5 * 5**0.5, -4 * 5**0.5, -3 * 5**0.5, 0.0])
    assert direction[0].tolist() == pytest.approx([2 / 5**0.5, -1 / 5**0.5])
    with pytest.raises(SettingsError, match="do not differ in 2 directions"):
        trajectory_directions(points, components=2)


def test_too_few_checkpoints_and_a_mixture_are_refused() -> None:
    points = walk(2)
    with pytest.raises(SettingsError, match="2 checkpoints for 2 components"):
        trajectory_directions(points)
    mixed = [[torch.ones(2, 2)], [(torch.ones(1, 2), torch.ones(2, 1), 1.0)], [torch.zeros(2, 2)]]
    with pytest.raises(SettingsError, match="all of one kind"):
        trajectory_directions(mixed)


def test_the_plane_of_saved_adapters_passes_through_their_losses(tiny_lora, batches, tmp_path) -> None:
    model = tiny_lora()
    objective = Objective(model, batches)
    space = parameter_space(model, "full")
    checkpoints, losses = [], []
    for index in range(3):
        folder = tmp_path / str(index)
        model.save_pretrained(folder)
        factors = read_adapter(folder)
        checkpoints.append([factors[name] for name in space.names])
        losses.append(objective.value())
        if index < 2:
            with torch.no_grad():
                for layer in space.layers:
                    layer.A.mul_(1.3)
                    layer.B.add_(0.1 * torch.ones_like(layer.B))
    # Three points lie in the plane of their two components, so the plane's losses there are the checkpoints' own.
    record, (first, second) = trajectory_directions(checkpoints)
    assert record.residuals == pytest.approx((0.0, 0.0, 0.0), abs=1e-5)
    for (alpha, beta), loss in zip(record.coordinates, losses, strict=True):
        with space.displaced(vectors.axpy(beta, second, vectors.scale(first, alpha))):
            assert objective.value() == pytest.approx(loss, rel=1e-9)
