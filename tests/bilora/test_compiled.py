from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import nn
from transformers import Qwen2Config, Qwen2ForCausalLM

from bilora import attach, build_optimizer, compiled
from bilora.adapters import AdapterPair
from bilora.compiled import compile_layers, compiling_pays, repeated_layers
from bilora.fused import fuse_adapters
from tests.tiny import VOCABULARY, lora_config, moved_off_zero, tiny_llama, tiny_t5, train_loop

pytestmark = [
    # PyTorch's tracer looks at `.grad` of whatever it is given, and its compiler still uses TorchScript.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def joined(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Compile without making kernels, which takes a minute a layer; yields how many operators each graph joined."""
    counts: list[int] = []

    def join(graph: Any) -> int:
        counts.append(join_shared_inputs(graph))
        return counts[-1]

    join_shared_inputs = compiled.join_shared_inputs
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    monkeypatch.setattr(compiled, "join_shared_inputs", join)
    # Its handlers write to a stream that pytest has closed by then.
    logging.getLogger("torch.__trace").disabled = True
    torch._dynamo.reset()
    yield counts
    torch._dynamo.reset()


def tiny_qwen2() -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=VOCABULARY,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
        )
    )


def pair(base: Any, **config: Any) -> PeftModel:
    torch.manual_seed(3)
    base.config.use_cache = False
    model = get_peft_model(base, lora_config(**config))  # type: ignore[arg-type]
    AdapterPair(model)
    moved_off_zero(model)
    return model.train()


def batch(rows: int = 4, tokens: int = 11, **more: Any) -> dict[str, torch.Tensor]:
    ids = torch.randint(1, VOCABULARY, (rows, tokens), generator=torch.Generator().manual_seed(rows + tokens))
    return {"input_ids": ids, "labels": ids, **more}


def gradients(model: Any, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss = model(**inputs).loss
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same(model: Any, inputs: dict[str, torch.Tensor], expected: Any, tolerance: float) -> None:
    loss, found = gradients(model, inputs)
    torch.testing.assert_close(loss, expected[0], rtol=tolerance, atol=0)
    assert found.keys() == expected[1].keys()
    for name, gradient in found.items():
        assert gradient.dtype == expected[1][name].dtype, name
        assert (gradient - expected[1][name]).norm() <= tolerance * expected[1][name].norm(), name


@pytest.mark.parametrize(
    ("build", "operators"),
    [
        (tiny_llama, 2),
        pytest.param(tiny_qwen2, 2, marks=pytest.mark.slow),
        pytest.param(tiny_t5, 2, marks=pytest.mark.slow),
    ],
)
def test_compiled_layers_equal_pefts(build: Callable[[], nn.Module], operators: int, joined: list[int]) -> None:
    model = pair(build(), task_type="SEQ_2_SEQ_LM" if build is tiny_t5 else "CAUSAL_LM")
    expected = gradients(model, batch())
    assert fuse_adapters(model)
    assert compile_layers(model) == 2
    assert_same(model, batch(), expected, 2e-5)
    # Query, key and value; gate and up, or in T5's decoder key and value of the encoder's output.
    assert max(joined) == operators


def test_fp32_factors_of_a_bf16_base_equal_pefts() -> None:
    model = pair(tiny_llama().to(torch.bfloat16))
    expected = gradients(model, batch())
    assert {g.dtype for g in expected[1].values()} == {torch.float32}
    fuse_adapters(model)
    compile_layers(model)
    # PEFT multiplies in fp32 here and rounds what it adds; compiled layers multiply in bfloat16.
    assert_same(model, batch(), expected, 5e-2)


def test_new_lengths_compile_nothing(joined: list[int]) -> None:
    model = pair(tiny_llama())
    fuse_adapters(model)
    compile_layers(model)
    gradients(model, batch(tokens=11))
    before = len(joined)
    assert before
    with torch.compiler.set_stance("fail_on_recompile"):
        for rows, tokens in ((4, 13), (3, 9), (6, 21)):
            gradients(model, batch(rows, tokens))
    assert len(joined) == before


def test_evaluation_and_second_derivatives_run_the_layers_as_they_are(joined: list[int]) -> None:
    model = pair(tiny_llama())
    model.set_attn_implementation("eager")
    fuse_adapters(model)
    compile_layers(model)
    model.eval()
    trained = [p for p in model.parameters() if p.requires_grad]
    first = torch.autograd.grad(model(**batch()).loss, trained, create_graph=True)
    second = torch.autograd.grad(sum((g**2).sum() for g in first), trained)
    assert all(torch.isfinite(g).all() for g in second)
    with torch.no_grad():
        model.train()(**batch())
    assert joined == []


@pytest.mark.slow
def test_a_layer_with_dropout_runs_pefts_forward_inside(joined: list[int]) -> None:
    model = pair(tiny_llama(), lora_dropout=0.5)
    fuse_adapters(model)
    compile_layers(model)
    torch.manual_seed(0)
    loss, found = gradients(model, batch())
    assert torch.isfinite(loss)
    assert all(torch.isfinite(g).all() for g in found.values())
    assert max(joined) == 0


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated:FutureWarning")
@pytest.mark.slow
def test_gradient_checkpointing_equals_pefts() -> None:
    model = pair(tiny_llama())
    expected = gradients(model, batch())
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    fuse_adapters(model)
    compile_layers(model)
    assert_same(model, batch(), expected, 2e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("base", "operators"), [(torch.float32, 0), (torch.bfloat16, 2)])
def test_autocast_equals_pefts(base: torch.dtype, operators: int, joined: list[int]) -> None:
    model = pair(tiny_llama().to(base))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = gradients(model, batch())
        fuse_adapters(model)
        compile_layers(model)
        assert_same(model, batch(), expected, 5e-2)
    assert max(joined) == operators


@pytest.mark.slow
def test_switching_the_auxiliary_off_is_seen() -> None:
    model = pair(tiny_llama())
    auxiliary = [p for name, p in model.named_parameters() if "auxiliary" in name]
    fuse_adapters(model)
    compile_layers(model)
    both, _ = gradients(model, batch())
    model.base_model.set_adapter(["default"])
    alone, found = gradients(model, batch())
    assert alone != both
    assert len(found) == len(auxiliary)
    with torch.no_grad():
        torch._foreach_zero_(auxiliary)
    model.base_model.set_adapter(["default", "auxiliary"])
    torch.testing.assert_close(gradients(model, batch())[0], alone, rtol=1e-5, atol=0)


def test_names_files_and_copies_stay(tmp_path: Any) -> None:
    model = pair(tiny_llama())
    before = model.state_dict()
    fuse_adapters(model)
    compile_layers(model)
    gradients(model, batch())
    assert list(model.state_dict()) == list(before)
    copied = copy.deepcopy(model)
    torch.testing.assert_close(copied(**batch()).loss, model(**batch()).loss)
    model.save_pretrained(tmp_path, selected_adapters=["default"])
    loaded = PeftModel.from_pretrained(tiny_llama(), tmp_path)
    model.base_model.set_adapter(["default"])
    torch.testing.assert_close(loaded(**batch()).loss, model.eval()(**batch()).loss, rtol=1e-5, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "lora-sam", "bilora"])
def test_fifty_steps_equal_stock_ones(method: str) -> None:
    losses = []
    for fast in (False, True):
        torch.manual_seed(1)
        model, attached = attach(tiny_llama(), lora_config(), method=method, fused=fast)
        model.train()
        model.config.use_cache = False
        if fast:
            compile_layers(model)
        optimizer = build_optimizer(attached, lr=1e-2, total_steps=50)
        curve = []
        for _ in range(10):
            train_loop(model, attached, optimizer, steps=5)
            curve.append(model(**batch()).loss.detach())
        losses.append(torch.stack(curve))
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-4, atol=0)
    assert losses[0][-1] != losses[0][0]


class TwoReads(nn.Module):
    """A block that reads one tensor in two layers, and does something in between."""

    def __init__(self, between: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.q, self.k = nn.Linear(6, 6), nn.Linear(6, 6)
        self.between = between

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x.clone()
        if self.between == "no gradient":
            a = self.q(h)
            with torch.no_grad():
                b = self.k(h)
            return a + b
        if self.between == "written over":
            with torch.no_grad():
                a = self.q(h)
            h.mul_(2)
            return a + self.k(h)
        return self.q(h) + self.k(h)


@pytest.mark.parametrize(("between", "operators"), [("nothing", 1), ("no gradient", 0), ("written over", 0)])
def test_inputs_that_changed_in_between_are_not_shared(between: str, operators: int, joined: list[int]) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([TwoReads(between), TwoReads(between)])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for block in self.blocks:
                x = block(x)
            return x

    model: Any = get_peft_model(Model(), lora_config(target_modules=["q", "k"], task_type=None))  # type: ignore[arg-type]
    moved_off_zero(model)
    model.train()
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(1)).requires_grad_()

    def run() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        model.zero_grad()
        output = model(x)
        output.square().sum().backward()
        return output.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    expected, wanted = run()
    fuse_adapters(model)
    compile_layers(model)
    output, found = run()
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-6)
    assert found.keys() == wanted.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-4, atol=1e-5)
    assert joined == [operators]


def test_repeated_layers_of_other_models_are_those_of_the_innermost_lists() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.to_q = nn.Linear(4, 4)

    class Stage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([Block(), Block()])

    class Stages(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stages = nn.ModuleList([Stage(), Stage()])
            self.heads = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])

    model = get_peft_model(Stages(), lora_config(target_modules=["to_q"], task_type=None))  # type: ignore[arg-type]
    assert [type(layer).__name__ for layer in repeated_layers(model)] == ["Block"] * 4


def test_only_large_16_bit_models_on_a_gpu_are_compiled_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = pair(tiny_llama().to(torch.bfloat16))
    assert not compiling_pays(narrow)  # on the CPU
    # Seen from inside, a parameter on the CPU looks like one on a GPU now.
    monkeypatch.setattr(nn.Parameter, "is_cuda", True, raising=False)
    assert not compiling_pays(narrow)  # small
    monkeypatch.setattr(compiled, "_LARGE", 1000)
    assert compiling_pays(narrow)
    assert not compiling_pays(pair(tiny_llama()))  # fp32
    narrow.base_model.model.model.layers[0].gradient_checkpointing = True
    assert not compiling_pays(narrow)


def test_a_layer_that_cannot_be_compiled_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Any] = []

    def failing(graph: Any, inputs: Any) -> Any:
        tried.append(graph)
        raise RuntimeError("no such compiler")

    model = pair(tiny_llama())
    expected = gradients(model, batch())
    fuse_adapters(model)
    monkeypatch.setattr(compiled, "shared_inputs_backend", failing)
    compile_layers(model)
    with pytest.warns(UserWarning, match="the layers run uncompiled, since PyTorch failed to compile one: .*"):
        assert_same(model, batch(), expected, 2e-5)
    assert_same(model, batch(), expected, 2e-5)
    assert len(tried) == 1


def test_a_cache_is_warned_of() -> None:
    model = tiny_llama()
    model.config.use_cache = True
    with pytest.warns(UserWarning, match="set model.config.use_cache = False"):
        compile_layers(model)


@pytest.mark.slow
def test_pytorchs_own_compiler_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "inductor")
    model = pair(tiny_llama())
    expected = gradients(model, batch())
    fuse_adapters(model)
    compile_layers(model)
    assert_same(model, batch(), expected, 2e-5)
