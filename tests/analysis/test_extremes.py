from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from analysis import FullSpace, HessianOperator, Objective, SettingsError, eigenvalues, extreme_eigenvalues
from analysis.extremes import ThreeTermLanczos
from analysis.vectors import Vector


class Dense:
    """A dense symmetric matrix that counts the vectors it makes."""

    symmetric = True

    def __init__(self, matrix: np.ndarray, *, dtype: torch.dtype = torch.float64) -> None:
        self.matrix = torch.from_numpy(matrix).to(dtype)
        self.products = 0
        self.made = 0

    @property
    def dimension(self) -> int:
        return len(self.matrix)

    def matvec(self, vector: Sequence[Tensor]) -> Vector:
        self.products += 1
        self.made += 1
        return [self.matrix @ vector[0]]

    def random_direction(self, *, seed: int, stream: str) -> Vector:
        return [torch.randn(self.dimension, generator=torch.Generator().manual_seed(seed)).to(self.matrix.dtype)]


class InPlace(Dense):
    """The same, adding its product to a vector."""

    def accumulate(self, vector: Sequence[Tensor], onto: Vector, *, scale: float) -> None:
        self.products += 1
        onto[0].mul_(scale).add_(self.matrix @ vector[0])


def symmetric(values: Sequence[float], *, seed: int = 0) -> np.ndarray:
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(values), len(values))))
    return (rotation * np.asarray(values)) @ rotation.T


@pytest.mark.parametrize("kind", [Dense, InPlace])
def test_both_ends_of_a_known_spectrum(kind: type[Dense]) -> None:
    values = [*np.linspace(-1, 1, 196), 50.0, 49.0, -20.0, 30.0]
    operator = kind(symmetric(values))
    found = extreme_eigenvalues(operator, tolerance=1e-6)
    assert found.converged
    assert found.top[0].value == pytest.approx(50.0, rel=1e-9)
    assert found.bottom[0].value == pytest.approx(-20.0, rel=1e-9)
    assert found.products == operator.products < 40
    assert operator.made == (1 if kind is InPlace else found.products)


def test_going_on_after_convergence_brings_copies_but_no_other_ends() -> None:
    """Where Lanczos without reorthogonalisation is known to fail, the two ends still hold."""
    operator = InPlace(symmetric([*np.linspace(0, 1, 300), 100.0, 60.0, 40.0]), dtype=torch.float32)
    found = extreme_eigenvalues(operator, tolerance=1e-12, max_products=150)
    assert found.top[0].value == pytest.approx(100.0, rel=1e-5)
    assert found.bottom[0].value == pytest.approx(0.0, abs=1e-3)


def test_the_residual_bounds_the_error_and_unconverged_ends_say_so() -> None:
    values = np.random.default_rng(1).normal(size=300)
    operator = Dense(symmetric(list(values)))
    for count in (5, 20, 60):
        found = extreme_eigenvalues(operator, tolerance=1e-9, max_products=count)
        for pair in (*found.top, *found.bottom):
            assert np.abs(values - pair.value).min() <= pair.residual + 1e-9
            assert pair.converged == (pair.relative_residual <= 1e-9)
    assert not extreme_eigenvalues(operator, tolerance=1e-9, max_products=5).converged


def test_bfloat16_vectors_move_the_ends_by_less_than_one_percent() -> None:
    values = [*np.random.default_rng(2).normal(size=400), 30.0, 22.0, -25.0]
    found = extreme_eigenvalues(InPlace(symmetric(values), dtype=torch.bfloat16), tolerance=1e-2)
    assert found.converged
    assert found.top[0].value == pytest.approx(30.0, rel=1e-2)
    assert found.bottom[0].value == pytest.approx(-25.0, rel=1e-2)


def test_an_invariant_start_ends_the_run() -> None:
    found = extreme_eigenvalues(Dense(3.0 * np.eye(20)), tolerance=1e-9)
    assert (found.top[0].value, found.bottom[0].value) == (pytest.approx(3.0), pytest.approx(3.0))


def test_it_agrees_with_the_restarted_solver_on_a_model() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 3)).double()
    batches = [(torch.randn(n, 6).double(), torch.randint(3, (n,))) for n in (5, 9)]

    def loss(module: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, int]:
        return nn.functional.cross_entropy(module(batch[0]), batch[1], reduction="sum"), len(batch[1])

    objective, space = Objective(model, batches, loss=loss), FullSpace(model)
    with space:
        expected = eigenvalues(HessianOperator(objective, space), top=1, bottom=1, tolerance=1e-9, basis_size=40)
        found = extreme_eigenvalues(HessianOperator(objective, space), tolerance=1e-9)
    assert found.top[0].value == pytest.approx(expected.top[0].value, rel=1e-8)
    assert found.bottom[0].value == pytest.approx(expected.bottom[0].value, rel=1e-8)


def test_accumulate_is_the_product_plus_the_scaled_vector() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3).double()
    batches = [(torch.randn(n, 4).double(), torch.randint(3, (n,))) for n in (2, 5)]

    def loss(module: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, int]:
        return nn.functional.cross_entropy(module(batch[0]), batch[1], reduction="sum"), len(batch[1])

    operator = HessianOperator(Objective(model, batches, loss=loss), FullSpace(model))
    v = operator.random_direction(seed=0, stream="a")
    onto = operator.random_direction(seed=0, stream="b")
    with pytest.raises(SettingsError, match="call matvec once first"):
        operator.accumulate(v, onto, scale=1.0)
    expected = operator.matvec(v)[0] - 0.7 * onto[0]
    address = onto[0].data_ptr()
    operator.accumulate(v, onto, scale=-0.7)
    torch.testing.assert_close(onto[0], expected)
    assert onto[0].data_ptr() == address
    assert operator.products == 2


@pytest.mark.parametrize(
    ("options", "message"), [({"tolerance": 0.0}, "tolerance is 0.0"), ({"max_products": 1}, "max_products is 1")]
)
def test_bad_settings(options: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        extreme_eigenvalues(Dense(np.eye(4)), **options)  # type: ignore[arg-type]


def test_a_converged_end_stays_so_while_its_copy_forms() -> None:
    """Without reorthogonalisation a copy takes over the Ritz vector's weight; the value and its bound stay."""
    values = np.concatenate([np.linspace(-1, 1, 400), [50.0, -0.999]])
    matrix = symmetric(values)
    run = ThreeTermLanczos(Dense(matrix, dtype=torch.float32), [torch.ones(len(values))])
    bounds, plain = [], []
    for _ in range(40):
        run.step()
        bounds.append(run.residuals[1])
        _, rotation = np.linalg.eigh(run._tridiagonal())
        plain.append(run._betas[-1] * abs(rotation[-1, -1]))
        assert min(abs(values - run.ends[1])) <= run.residuals[1] + 1e-4
        run.advance()
    assert max(plain[8:]) > 1e-3
    assert max(bounds[8:]) < 2e-4
