"""Gauss-Newton and empirical Fisher against dense Jacobians, and the losses that make them possible."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForSequenceClassification

from analysis import (
    CrossEntropyLoss,
    EmpiricalFisherOperator,
    FullSpace,
    GaussNewtonOperator,
    HessianOperator,
    Objective,
    ObjectiveError,
    ScoredLogits,
    SettingsError,
    causal_lm_loss,
    parameter_space,
    sequence_classification_loss,
    vectors,
)


def jacobian(model, batches, space, loss=causal_lm_loss):
    """Return logits (N, V), their Jacobian (N, V, D), targets and examples of all counted rows."""
    found = []
    for batch in batches:
        scored = loss.logits(model.eval(), batch)
        rows = []
        for value in scored.values.flatten():
            parts = torch.autograd.grad(value, space.tensors, retain_graph=True, allow_unused=True)
            parts = [p if p is not None else torch.zeros_like(t) for p, t in zip(parts, space.tensors, strict=True)]
            rows.append(torch.cat([p.flatten() for p in parts]))
        offset = 0 if not found else int(found[-1][3].max()) + 1
        dense = torch.stack(rows).view(*scored.values.shape, -1)
        found.append((scored.values.detach(), dense, scored.targets, scored.examples + offset))
    return [torch.cat(parts) for parts in zip(*found, strict=True)]


@pytest.mark.parametrize("name", ["full", "lora"])
def test_gauss_newton_is_the_jacobian_form(tiny_lora, batches, columns, name) -> None:
    model = tiny_lora(targets=["q_proj"])
    with parameter_space(model, name) as space:
        found = columns(GaussNewtonOperator(Objective(model, batches), space).matvec, space)
        values, dense, _, _ = jacobian(model, batches, space)
        p = values.softmax(dim=1)
        middle = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        expected = torch.einsum("nvd,nvw,nwe->de", dense, middle, dense).numpy() / len(p)
    np.testing.assert_allclose(found, expected, atol=1e-10 * np.abs(expected).max())
    assert np.linalg.eigvalsh(found).min() > -1e-10 * np.abs(expected).max()


@pytest.mark.parametrize("unit", ["example", "token"])
def test_the_empirical_fisher_is_the_mean_of_outer_products(tiny_lora, batches, columns, unit) -> None:
    model = tiny_lora(targets=["q_proj"])
    with parameter_space(model, "full") as space:
        operator = EmpiricalFisherOperator(Objective(model, batches), space, unit=unit)
        found = columns(operator.matvec, space)
        gradients = []
        total = 0
        for batch in batches:
            for row in range(len(batch["input_ids"])):
                single = {key: value[row : row + 1] for key, value in batch.items()}
                labels = single["labels"][0]
                kept = [t for t in range(1, len(labels)) if labels[t] != -100]
                groups = [kept] if unit == "example" else [[t] for t in kept]
                total += len(kept)
                for group in groups:
                    only = torch.full_like(single["labels"], -100)
                    only[0, group] = labels[group]
                    value, _ = causal_lm_loss(model.eval(), single | {"labels": only})
                    parts = torch.autograd.grad(value, space.tensors)
                    gradients.append(torch.cat([part.flatten() for part in parts]))
        stacked = torch.stack(gradients)
        expected = (stacked.mT @ stacked / total).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("kind", [GaussNewtonOperator, EmpiricalFisherOperator])
def test_checkpointing_and_training_mode_change_nothing(tiny_lora, batches, snapshot, kind) -> None:
    model = tiny_lora(layers=2, config={"lora_dropout": 0.5})
    with parameter_space(model, "full") as space:
        direction = space.random_direction(seed=0, stream="test")
        expected = kind(Objective(model, batches), space).matvec(direction)
    for module in model.modules():
        if hasattr(module, "gradient_checkpointing"):
            module.gradient_checkpointing = True
    model.train()
    check = snapshot(model)
    with parameter_space(model, "full") as space:
        found = kind(Objective(model, batches), space).matvec(direction)
    assert vectors.norm(vectors.axpy(-1.0, expected, found)) < 1e-12 * vectors.norm(expected)
    check()


def test_the_hessian_of_a_model_linear_in_its_weights_is_its_gauss_newton_matrix(columns) -> None:
    """Softmax regression: the logits have no curvature, and the classifier's loss counts examples."""
    torch.manual_seed(0)
    model = nn.Linear(3, 4).double()
    generator = torch.Generator().manual_seed(1)
    batch = {
        "x": torch.randn(5, 3, generator=generator, dtype=torch.float64),
        "labels": torch.tensor([0, 1, -100, 3, 1]),
    }

    def logits(module, batch):
        kept = batch["labels"] != -100
        return ScoredLogits(module(batch["x"])[kept], batch["labels"][kept], kept.nonzero().squeeze(1))

    objective = Objective(model, [batch], loss=CrossEntropyLoss(logits))
    with FullSpace(model, parameters=["weight", "bias"]) as space:
        hessian = columns(HessianOperator(objective, space).matvec, space)
        np.testing.assert_allclose(columns(GaussNewtonOperator(objective, space).matvec, space), hessian, atol=1e-12)
    expected = nn.functional.cross_entropy(model(batch["x"]), batch["labels"], ignore_index=-100)
    assert objective.value() == pytest.approx(expected.item(), rel=1e-12)


def test_a_classifier_of_transformers_is_counted_by_examples() -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=13,
        hidden_size=8,
        intermediate_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_labels=3,
        pad_token_id=0,
    )
    model = LlamaForSequenceClassification(config).eval()
    batch = {"input_ids": torch.randint(1, 13, (4, 5)), "labels": torch.tensor([0, 2, 1, -100])}
    objective = Objective(model, [batch], loss=sequence_classification_loss)
    logits = model(input_ids=batch["input_ids"]).logits
    expected = nn.functional.cross_entropy(logits, batch["labels"], ignore_index=-100)
    assert objective.value() == pytest.approx(expected.item(), rel=1e-6)
    with pytest.raises(ObjectiveError, match="expected one class index per example"):
        Objective(model, [batch | {"labels": torch.rand(4)}], loss=sequence_classification_loss).value()


def test_a_loss_without_logits_is_refused_by_name(tiny_lora, batches) -> None:
    def squared(model, batch):
        return model(batch["input_ids"]).logits.square().sum(), 1

    model = tiny_lora()
    operator = GaussNewtonOperator(Objective(model, batches, loss=squared), parameter_space(model, "full"))
    with pytest.raises(ObjectiveError, match=r"the loss squared has no logits.*CrossEntropyLoss\(logits\)"):
        operator.matvec(vectors.zeros_like(operator.space.tensors))


def test_logits_that_are_not_finite_name_the_weight(tiny_lora, batches) -> None:
    model = tiny_lora()
    with torch.no_grad():
        model.get_output_embeddings().weight[0, 0] = float("nan")
    operator = GaussNewtonOperator(Objective(model, batches), parameter_space(model, "full"))
    with pytest.raises(ObjectiveError, match=r"logits of batch 0 are not finite; the weights of .*lm_head.weight"):
        operator.matvec(vectors.zeros_like(operator.space.tensors))


def test_logits_that_the_space_does_not_reach_have_no_curvature(tiny_llama, batches) -> None:
    model = tiny_llama()
    model.register_parameter("unused", nn.Parameter(torch.ones(2, dtype=torch.float64)))
    with FullSpace(model, parameters=["unused"]) as space:
        product = GaussNewtonOperator(Objective(model, batches), space).matvec([torch.ones(2, dtype=torch.float64)])
    assert vectors.norm(product) == 0.0


def test_an_unknown_unit_is_refused(tiny_lora, batches) -> None:
    model = tiny_lora()
    with pytest.raises(SettingsError, match="unit is 'batch'; expected one of token, example"):
        EmpiricalFisherOperator(Objective(model, batches), parameter_space(model, "full"), unit="batch")


@pytest.mark.parametrize("kind", [GaussNewtonOperator, EmpiricalFisherOperator])
def test_checkpointing_keeps_what_is_no_linear_weight(tiny_llama, batches, kind) -> None:
    model = tiny_llama(layers=2, tied=True)
    objective = Objective(model, batches)
    with parameter_space(model, "all") as space:
        direction = space.random_direction(seed=0, stream="test")
        expected = kind(objective, space).matvec(direction)
        for layer in model.model.layers:
            layer.gradient_checkpointing = True
        found = kind(objective, space).matvec(direction)
    for name, one, other in zip(space.names, found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9, msg=name)
