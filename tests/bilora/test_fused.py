from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model

from bilora.adapters import AdapterPair
from bilora.fused import fuse_adapters
from tests.tiny import as_batch, examples, lora_config, moved_off_zero, tiny_llama


def pair(*, dtype: torch.dtype = torch.float32, **config: Any) -> PeftModel:
    """A PEFT model with two active adapters that both differ from zero."""
    base = tiny_llama().to(dtype)
    torch.manual_seed(3)
    model = get_peft_model(base, lora_config(**config), autocast_adapter_dtype=False)
    AdapterPair(model)
    moved_off_zero(model)
    return model


def logits_and_gradients(model: PeftModel) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    output = model(**as_batch(examples()))
    output.loss.backward()
    return output.logits.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5), (torch.bfloat16, 5e-2)]
)
def test_forward_and_gradients_equal_pefts(dtype: torch.dtype, tolerance: float) -> None:
    model = pair(dtype=dtype)
    expected, expected_gradients = logits_and_gradients(model)
    assert fuse_adapters(model) == 14
    found, gradients = logits_and_gradients(model)
    assert (found - expected).norm() <= tolerance * expected.norm()
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in gradients.items():
        assert (gradient - expected_gradients[name]).norm() <= tolerance * expected_gradients[name].norm(), name


def test_fp32_adapters_on_a_bf16_base_equal_pefts() -> None:
    base = tiny_llama().to(torch.bfloat16)
    model = get_peft_model(base, lora_config())
    AdapterPair(model)
    moved_off_zero(model)
    expected, _ = logits_and_gradients(model)
    fuse_adapters(model)
    found, gradients = logits_and_gradients(model)
    assert found.dtype == torch.bfloat16
    assert {g.dtype for g in gradients.values()} == {torch.float32}
    assert (found - expected).norm() <= 1e-2 * expected.norm()


def test_autocast_equals_pefts() -> None:
    model = pair()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected, _ = logits_and_gradients(model)
        fuse_adapters(model)
        found, _ = logits_and_gradients(model)
    assert (found - expected).float().norm() <= 2e-2 * expected.float().norm()


def test_second_derivatives_equal_pefts() -> None:
    model = pair(dtype=torch.float64)
    model.set_attn_implementation("eager")
    batch = as_batch(examples())
    parameters = [p for p in model.parameters() if p.requires_grad]
    generator = torch.Generator().manual_seed(0)
    vector = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in parameters]

    def product() -> list[torch.Tensor]:
        logits = model(input_ids=batch["input_ids"]).logits[:, :-1].flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, batch["labels"][:, 1:].flatten())
        gradients = torch.autograd.grad(loss, parameters, create_graph=True)
        return list(torch.autograd.grad(gradients, parameters, grad_outputs=vector))

    expected = product()
    fuse_adapters(model)
    for found, wanted in zip(product(), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


# 2026-11: transformers 5.23 has a new name for this, which 5.17 does not know yet.
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated:FutureWarning")
def test_gradient_checkpointing_equals_pefts() -> None:
    model = pair()
    _, expected = logits_and_gradients(model)
    model.train()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    fuse_adapters(model)
    _, found = logits_and_gradients(model)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("config", [{"lora_dropout": 0.5}, {"use_dora": True}])
def test_other_layers_run_pefts_own_forward(config: dict[str, Any]) -> None:
    model = pair(**config)
    model.train()
    torch.manual_seed(0)
    expected, _ = logits_and_gradients(model)
    fuse_adapters(model)
    torch.manual_seed(0)
    assert torch.equal(logits_and_gradients(model)[0], expected)


def test_disabled_and_merged_adapters_are_pefts(recwarn: pytest.WarningsRecorder) -> None:
    model = pair().eval()
    batch = as_batch(examples())
    with torch.no_grad(), model.disable_adapter():
        base = model(**batch).logits
    both = model(**batch).logits.detach()
    fuse_adapters(model)
    with torch.no_grad(), model.disable_adapter():
        assert torch.equal(model(**batch).logits, base)
    model.merge_adapter()
    torch.testing.assert_close(model(**batch).logits.detach(), both, rtol=1e-4, atol=1e-5)


def test_state_dict_and_names_stay(tmp_path) -> None:
    model = pair()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fuse_adapters(model)
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("place", ["base_layer", "lora_A.default", "lora_B.auxiliary"])
def test_hooks_inside_a_layer_run(place: str) -> None:
    model = pair()
    for name, module in model.named_modules():
        if name.endswith(f"q_proj.{place}"):
            module.register_forward_hook(lambda _module, _inputs, output: 3 * output)
    expected, _ = logits_and_gradients(model)
    fuse_adapters(model)
    found, _ = logits_and_gradients(model)
    assert (found - expected).norm() <= 2e-5 * expected.norm()


def test_a_single_vector_is_taken_as_by_peft() -> None:
    model = pair()
    layer = next(module for name, module in model.named_modules() if name.endswith("q_proj"))
    x = torch.randn(16)
    expected = layer(x)
    fuse_adapters(model)
    torch.testing.assert_close(layer(x), expected)
