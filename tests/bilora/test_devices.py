"""Models spread over devices, of which this machine has one: PyTorch's fake tensors know where they would lie.

A fake tensor has a device and no numbers. The second device is called "meta", the one beside the CPU that autograd
knows everywhere, and `OneDevice` refuses what two GPUs would: PyTorch lets scalars of a CPU meet everything, and those
of a GPU nothing elsewhere. `python -m benchmarks.world_size --device cuda --modes spread` compares numbers on two GPUs.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from bilora import attach, build_optimizer, method_names
from bilora.devices import beside, scale_, scaled, together
from bilora.draws import standard_normals
from bilora.methods import METHODS

# These draw on the device of a weight, and there is no generator without numbers; or they ask which of their draws are
# small, or for the head of a language model.
WITH_NUMBERS = {"rwp-full", "flat-lora", "lora-esam", "rop"}


class OneDevice(TorchDispatchMode):
    """Lets every operation have tensors of one device, and of lists those at the same place."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if "copy" not in name:
            lists = [a for a in args if isinstance(a, (list, tuple)) and a and isinstance(a[0], Tensor)]
            single = [a for a in args if isinstance(a, Tensor)]
            places = zip(*lists, strict=True) if "foreach" in name and lists else [[t for held in lists for t in held]]
            for tensors in places:
                found = {t.device.type for t in (*tensors, *single)}
                if len(found) > 1:
                    raise RuntimeError(f"{name}: expected all tensors on the same device, found {sorted(found)}")
        return func(*args, **(kwargs or {}))


class Spread(nn.Module):
    """Two linear layers on two devices."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 12), nn.Linear(12, 4, device="meta")

    def forward(self, x: Tensor, labels: Tensor) -> SimpleNamespace:
        hidden = torch.tanh(self.first(x))
        logits = self.second(hidden.to("meta"))
        return SimpleNamespace(loss=nn.functional.cross_entropy(logits, labels.to("meta")), logits=logits)


def beside_the_weight(layer: Any, adapter_name: str, device: Any = None) -> None:
    """What PEFT does with a new adapter, but for its exception for the device "meta"."""
    place = layer.get_base_layer().weight.device
    for name in layer.adapter_layer_names:
        for module in getattr(layer, name)[adapter_name].modules() if adapter_name in getattr(layer, name) else ():
            for key, value in list(module._parameters.items()):
                if value is not None and value.device != place:
                    module._parameters[key] = nn.Parameter(torch.empty_like(value, device=place))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(BaseTunerLayer, "_move_adapter_to_device_of_base_layer", beside_the_weight)
    monkeypatch.setattr(nn.Module, "to", lambda module, *_, **__: module)
    with FakeTensorMode(allow_non_fake_inputs=True), OneDevice():
        yield


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("name", [name for name in method_names() if name not in WITH_NUMBERS])
def test_a_step_keeps_every_tensor_where_it_is(name: str) -> None:
    config = None if METHODS[name].trains_all_weights else LoraConfig(r=2, target_modules=["first", "second"])
    model, method = attach(Spread(), config, method=name)
    assert {p.device.type for p in model.parameters() if p.requires_grad} == {"cpu", "meta"}
    optimizer = build_optimizer(method, lr=1e-3, total_steps=2)
    x, labels = torch.randn(5, 8), torch.zeros(5, dtype=torch.long)

    def passes() -> Tensor:
        loss: Tensor = model(x, labels).loss
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    for _ in range(2):
        method.gradients(passes, loss=lambda: model(x, labels).loss)
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.usefixtures("fake")
def test_scalars_and_factors_find_their_tensors() -> None:
    near, far = torch.ones(3), torch.ones(2, device="meta")
    assert together([near.sum(), far.sum()]).device.type == "cpu"
    assert [s.device.type for s in beside([near.sum(), near.sum()], [near, far])] == ["cpu", "meta"]
    assert [t.device.type for t in scaled([near, far], near.sum())] == ["cpu", "meta"]
    scale_([near, far], near.sum())
    with pytest.raises(RuntimeError, match="same device"):
        torch._foreach_mul([near, far], near.sum())


@pytest.mark.usefixtures("fake")
def test_noise_lies_beside_its_weights() -> None:
    drawn = standard_normals([torch.ones(3), torch.ones(2, device="meta")], 1, 2)
    assert [t.device.type for t in drawn] == ["cpu", "meta"]


def test_on_one_device_the_numbers_are_those_of_plain_products() -> None:
    tensors, factor = [torch.arange(3.0), torch.ones(2)], torch.tensor(2.0)
    assert [t.tolist() for t in scaled(tensors, factor)] == [[0.0, 2.0, 4.0], [2.0, 2.0]]
    scale_(tensors, 3.0)
    assert [t.tolist() for t in tensors] == [[0.0, 3.0, 6.0], [3.0, 3.0]]
    assert together([torch.tensor(1.0), torch.tensor(2.0)]).tolist() == [1.0, 2.0]
