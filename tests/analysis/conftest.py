"""Small models, data and dense references that the tests of `analysis` share; nothing here touches a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from analysis import FullSpace, Objective, ParameterSpace, vectors

VOCABULARY = 13


class Norm(nn.Module):
    """RMSNorm that keeps float64; transformers' own computes in float32 whatever the model's type."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def _tiny_llama(
    *, attention: str = "sdpa", layers: int = 1, dtype: torch.dtype = torch.float64, tied: bool = False
) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=8,
        intermediate_size=12,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=32,
        initializer_range=0.4,
        attn_implementation=attention,
        tie_word_embeddings=tied,
    )
    model = LlamaForCausalLM(config)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child).__name__ == "LlamaRMSNorm":
                setattr(module, name, Norm(8))
    return model.to(dtype)


@pytest.fixture
def tiny_llama() -> Callable[..., LlamaForCausalLM]:
    """Return a builder of a float64 Llama of a few thousand parameters."""
    return _tiny_llama


@pytest.fixture
def tiny_lora() -> Callable[..., PeftModel]:
    """Return a builder of the tiny Llama with a LoRA adapter whose B is not zero."""

    def build(
        *,
        targets: Sequence[str] = ("q_proj", "v_proj", "down_proj"),
        rank: int = 2,
        trained: bool = True,
        config: dict[str, object] | None = None,
        **model: object,
    ) -> PeftModel:
        base = _tiny_llama(**model)  # type: ignore[arg-type]
        dtype = next(base.parameters()).dtype
        settings = LoraConfig(r=rank, lora_alpha=3, target_modules=list(targets), **(config or {}))
        adapted = get_peft_model(base, settings).to(dtype)
        generator = torch.Generator().manual_seed(1)
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name and trained:
                draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.data.copy_(0.3 * draw)
        return adapted

    return build


@pytest.fixture
def batches() -> list[dict[str, Tensor]]:
    """Return two batches of unequal size and length, with padding and with ignored labels."""
    generator = torch.Generator().manual_seed(2)
    found = []
    for size, length, ignored in ((2, 7, 4), (3, 5, 2)):
        ids = torch.randint(0, VOCABULARY, (size, length), generator=generator)
        labels = ids.clone()
        labels[0, :ignored] = -100
        mask = torch.ones_like(ids)
        mask[-1, -1] = 0
        labels[-1, -1] = -100
        found.append({"input_ids": ids, "attention_mask": mask, "labels": labels})
    return found


def _mean_token_loss(model: nn.Module, batches: Sequence[dict[str, Tensor]]) -> Tensor:
    """Return the mean over all counted tokens, written down once more with PyTorch's own cross-entropy."""
    losses = []
    for batch in batches:
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        losses.append(
            nn.functional.cross_entropy(
                logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), reduction="none", ignore_index=-100
            )
        )
    counted = sum(int((batch["labels"][:, 1:] != -100).sum()) for batch in batches)
    return torch.cat(losses).sum() / counted


@pytest.fixture
def mean_token_loss() -> Callable[[nn.Module, Sequence[dict[str, Tensor]]], Tensor]:
    """Return an independent implementation of the token-weighted mean loss."""
    return _mean_token_loss


@pytest.fixture
def dense_hessian() -> Callable[..., np.ndarray]:
    """Return a function that computes the whole Hessian of the mean loss in a space that is entered."""

    def compute(model: nn.Module, batches: Sequence[dict[str, Tensor]], space: ParameterSpace) -> np.ndarray:
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        keys = [names[id(tensor)] for tensor in space.tensors]
        sizes = [tensor.numel() for tensor in space.tensors]

        def loss(flat: Tensor) -> Tensor:
            parts = [p.view(t.shape) for p, t in zip(flat.split(sizes), space.tensors, strict=True)]
            replaced = dict(zip(keys, parts, strict=True))

            class Bound(nn.Module):
                def forward(self, **inputs: Tensor) -> object:
                    return torch.func.functional_call(model, replaced, kwargs=inputs)

            with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
                return _mean_token_loss(Bound(), batches)

        flat = torch.cat([tensor.detach().flatten() for tensor in space.tensors])
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return torch.autograd.functional.hessian(loss, flat).numpy()

    return compute


@pytest.fixture
def columns() -> Callable[..., np.ndarray]:
    """Return a function that turns a map on vectors of a space into its dense matrix."""

    def compute(apply: Callable[[list[Tensor]], list[Tensor]], space: ParameterSpace) -> np.ndarray:
        shapes = [tensor.shape for tensor in space.tensors]
        sizes = [tensor.numel() for tensor in space.tensors]
        found = []
        for unit in torch.eye(sum(sizes), dtype=space.tensors[0].dtype):
            blocks = [part.view(shape) for part, shape in zip(unit.split(sizes), shapes, strict=True)]
            found.append(torch.cat([block.flatten() for block in apply(blocks)]))
        return torch.stack(found, dim=1).numpy()

    return compute


class Quadratic(nn.Module):
    """The loss constant + g.w + w.H w / 2 of a parameter w at zero."""

    def __init__(self, hessian: np.ndarray, gradient: np.ndarray) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(len(gradient), dtype=torch.float64))
        self.register_buffer("H", torch.as_tensor(hessian))
        self.register_buffer("g", torch.as_tensor(gradient))

    def forward(self) -> Tensor:
        return 1.5 + self.g @ self.w + 0.5 * self.w @ (self.H @ self.w)


@pytest.fixture
def quadratic() -> Callable[[np.ndarray, np.ndarray], tuple[Objective, FullSpace]]:
    """Return a builder of an objective with a known gradient and Hessian, and its space."""

    def build(hessian: np.ndarray, gradient: np.ndarray) -> tuple[Objective, FullSpace]:
        model = Quadratic(hessian, gradient)
        objective = Objective(model, [2, 3], loss=lambda module, count: (count * module(), count))
        return objective, FullSpace(model, parameters=["w"])

    return build


@pytest.fixture
def snapshot() -> Callable[[nn.Module], Callable[[], None]]:
    """Return a function that records all of a model's state, and gives a check that nothing has changed."""

    def record(model: nn.Module) -> Callable[[], None]:
        bits = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        flags = {name: (p.requires_grad, p.grad) for name, p in model.named_parameters()}
        modes = {name: module.training for name, module in model.named_modules()}
        generator = torch.get_rng_state()

        def check() -> None:
            for name, tensor in model.state_dict().items():
                assert torch.equal(tensor, bits[name]), name
            assert {name: (p.requires_grad, p.grad) for name, p in model.named_parameters()} == flags
            assert {name: module.training for name, module in model.named_modules()} == modes
            assert torch.equal(torch.get_rng_state(), generator)

        return check

    return record


class MatrixOperator:
    """A dense symmetric matrix as an operator on vectors of two blocks."""

    symmetric = True

    def __init__(self, matrix: np.ndarray, *, dtype: torch.dtype = torch.float64) -> None:
        self.matrix = torch.as_tensor(matrix, dtype=dtype)
        self.dimension = len(matrix)
        self.products = 0
        first = self.dimension // 3
        self.like = [torch.zeros(first, dtype=dtype), torch.zeros(self.dimension - first, dtype=dtype)]

    def matvec(self, vector: Sequence[Tensor]) -> list[Tensor]:
        self.products += 1
        product = self.matrix @ torch.cat([block.flatten() for block in vector])
        return list(product.split([len(block) for block in self.like]))

    def random_direction(self, *, seed: int, stream: str) -> list[Tensor]:
        return vectors.random(self.like, ["first", "second"], seed=seed, stream=stream)


@pytest.fixture
def matrix_operator() -> type[MatrixOperator]:
    """Return the operator class of a dense symmetric matrix."""
    return MatrixOperator


@pytest.fixture
def symmetric_matrix() -> Callable[..., np.ndarray]:
    """Return a builder of a symmetric matrix with given eigenvalues."""

    def build(values: Sequence[float], *, seed: int = 0) -> np.ndarray:
        generator = np.random.default_rng(seed)
        basis, _ = np.linalg.qr(generator.standard_normal((len(values), len(values))))
        return (basis * np.asarray(values)) @ basis.T

    return build
