from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForSequenceClassification

from bilora import attach, build_optimizer
from bilora.methods import Method, MethodError, Rop, create_method
from bilora.methods.random_outputs import logits_module
from tests.driving import step_gradients, train
from tests.tiny import TinyMlp, as_batch, attached, examples, lora_config, primary_state, tiny_llama, tiny_t5

BATCH = as_batch(examples())
PLAIN = {"target_modules": ["first", "second"], "task_type": None}


def logits_of_a_step(method: Method, model: Any) -> list[Tensor]:
    """Logits of two micro-batches of one step."""
    found: list[Tensor] = []

    def forward_backward() -> Tensor:
        loss = torch.zeros(())
        for _ in range(2):
            outputs = model(**BATCH)
            outputs.loss.backward()
            found.append(outputs.logits.detach())
            loss = outputs.loss.detach()
        return loss

    method.gradients(forward_backward)
    return found


def test_logits_get_gaussian_noise_in_training_steps_only() -> None:
    model, method = attached("rop", rho=0.5)
    optimizer = build_optimizer(method, lr=0.0)
    with torch.no_grad():
        clean = model(**BATCH).logits
    noises = []
    for _ in range(2):
        noises += [logits - clean for logits in logits_of_a_step(method, model)]
        optimizer.step()
    with torch.no_grad():
        assert torch.equal(model(**BATCH).logits, clean)
    for noise in noises:
        # Of 4096 normals: standard errors of the mean 0.008, of the deviation 0.0055.
        assert noise.numel() == 4096
        assert noise.mean().item() == pytest.approx(0, abs=0.04)
        assert noise.std().item() == pytest.approx(0.5, abs=0.03)
    correlations = torch.corrcoef(torch.stack([n.flatten() for n in noises])).triu(1)
    assert correlations.abs().max() < 0.08  # every micro-batch and every step has its own
    assert method.extra_memory() == 4096 * 4
    assert "perturbation_norm" not in method.means.pop()


def test_the_loss_is_the_one_of_the_noisy_logits() -> None:
    model, method = attached("rop", rho=2.0)
    found: list[Any] = []

    def forward_backward() -> Tensor:
        found.append(model(**BATCH))
        found[0].loss.backward()
        loss: Tensor = found[0].loss.detach()
        return loss

    method.gradients(forward_backward)
    logits, labels = found[0].logits[:, :-1], BATCH["labels"][:, 1:]
    expected = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    torch.testing.assert_close(found[0].loss, expected)


def test_rho_zero_is_lora_bit_for_bit() -> None:
    states = []
    for name, options in (("lora", {}), ("rop", {"rho": 0.0})):
        model, method = attached(name, dropout=0.2, **options)
        torch.manual_seed(11)
        train(method, model, steps=3)
        states.append(primary_state(model))
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_noise_is_gone_after_a_pass_that_fails() -> None:
    model, method = attached("rop", rho=0.5)

    def fails() -> Tensor:
        raise RuntimeError("out of memory")

    with torch.no_grad():
        clean = model(**BATCH).logits
        with pytest.raises(RuntimeError, match="out of memory"):
            method.gradients(fails)
        assert torch.equal(model(**BATCH).logits, clean)


def test_the_head_is_found_in_models_of_transformers() -> None:
    assert logits_module(llama := tiny_llama()) is llama.lm_head
    assert logits_module(t5 := tiny_t5()) is t5.lm_head
    settings = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
    classifier = LlamaForSequenceClassification(LlamaConfig(**settings, num_attention_heads=2, pad_token_id=0))
    wrapped, _ = attach(classifier, lora_config(task_type="SEQ_CLS"), method="rop")
    assert logits_module(wrapped) is wrapped.get_base_model().score


def test_a_plain_module_must_name_its_head() -> None:
    with pytest.raises(
        MethodError, match="cannot tell which module of TinyMlp makes them; name it with the option head"
    ):
        attach(TinyMlp(), lora_config(**PLAIN), method="rop")
    with pytest.raises(MethodError, match="TinyMlp has no module 'secnd' for the option head, did you mean 'second'"):
        attach(TinyMlp(), lora_config(**PLAIN), method="rop", head="secnd")
    model, method = attach(TinyMlp(), lora_config(**PLAIN), method="rop", head="second")
    assert isinstance(method, Rop)
    assert method.head is model.get_base_model().second


def test_a_head_that_does_not_run_or_gives_no_tensor_is_an_error() -> None:
    class Wrong(TinyMlp):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Linear(4, 4)
            self.pair = Pair()

        def forward(self, input_ids: Tensor, labels: Tensor) -> SimpleNamespace:
            self.pair(input_ids)
            return super().forward(input_ids, labels)

    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    for head, message in (("unused", "did not run in this step"), ("pair", "a tensor, and is a tuple")):
        model, method = attach(Wrong(), lora_config(**PLAIN), method="rop", head=head)
        with pytest.raises(MethodError, match=message):
            step_gradients(method, model, BATCH)
        assert not method.head._forward_hooks  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rho": -1}, "option rho is -1; expected a finite number >= 0"),
        ({"head": 3}, "option head is 3; expected the name of a module"),
        ({"sigma": 0.1}, "has no option 'sigma'"),
    ],
)
def test_bad_options_are_answered(options: dict[str, object], message: str) -> None:
    with pytest.raises(MethodError) as error:
        create_method("rop", **options)
    assert message in str(error.value)
