from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.errors import UsageError
from benchmarks.harness.subjects import (
    Base,
    Subject,
    adapter_fingerprint,
    adapter_subjects,
    check_adapter,
    check_fit,
    locate_base,
)
from benchmarks.models import SHIPPED
from bilora import attach
from tests.adapters import save_adapter
from tests.models import save_tiny_model, save_tiny_t5
from tests.tiny import lora_config, tiny_llama


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("subjects")
    save_tiny_model(folder / "base")
    save_adapter(folder / "run-1" / "adapter", folder / "base")
    save_adapter(folder / "own", folder / "base", seed=1)
    return folder


def test_adapters_are_named_after_their_run_or_folder_and_sit_on_the_base_they_name(place: Path) -> None:
    found = adapter_subjects([place / "run-1" / "adapter", place / "own"], model=None, quantize="nf4")
    base = Base(source=str(place / "base"), quantize="nf4")
    assert found == [
        Subject(name="run-1", base=base, adapter=place / "run-1" / "adapter"),
        Subject(name="own", base=base, adapter=place / "own"),
    ]


def test_equal_names_are_told_apart_and_one_folder_twice_is_refused(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "own", tmp_path / "own")
    names = [s.name for s in adapter_subjects([place / "own", tmp_path / "own"], model=None, quantize=None)]
    assert len(set(names)) == 2
    assert all(name.endswith("_own") for name in names)
    with pytest.raises(UsageError, match="the same folder is named twice"):
        adapter_subjects([place / "own", place / "own"], model=None, quantize=None)


def test_another_base_can_be_named(place: Path) -> None:
    (found,) = adapter_subjects([place / "own"], model="pocket-llama", quantize=None)
    assert found.base == Base(source=str(SHIPPED / "pocket-llama"))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("pocket-llama", SHIPPED / "pocket-llama"),
        ("/elsewhere/benchmarks/pocket/models/pocket-llama", SHIPPED / "pocket-llama"),
        ("meta-llama/Llama-3.1-8B", Path("meta-llama/Llama-3.1-8B")),
    ],
)
def test_bases_are_shipped_moved_or_on_the_hub(name: str, found: Path) -> None:
    assert locate_base(name, flag="--model") == str(found)


def test_a_base_that_is_gone_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--model: the base '/gone/model' is neither a folder, a shipped model"):
        locate_base("/gone/model", flag="--model")


def test_pickled_weights_are_refused_without_being_read(place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(place / "own", folder)
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(b"not even a pickle")
    with pytest.raises(
        UsageError, match=r"adapter_model.bin holds its weights as a pickle, which can run any code .* safetensors"
    ):
        check_adapter(folder)


def test_the_auxiliary_adapter_is_refused(tmp_path: Path) -> None:
    """As PEFT writes both adapters of Bi-LoRA when it is not told which."""
    model, _ = attach(tiny_llama(), lora_config(), method="bilora")
    model.save_pretrained(tmp_path)
    assert (tmp_path / "auxiliary" / "adapter_config.json").is_file()
    with pytest.raises(UsageError, match=r"is the auxiliary adapter of Bi-LoRA, .* expected the primary one, "):
        check_adapter(tmp_path / "auxiliary")
    check_adapter(tmp_path)


def test_what_is_no_adapter_is_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        check_adapter(tmp_path / "nothing")
    with pytest.raises(UsageError, match=r"holds no adapter_config.json"):
        check_adapter(tmp_path)
    with pytest.raises(UsageError, match=r"holds a whole model; score it with --base --model"):
        check_adapter(place / "base")
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UsageError, match="is an adapter of type None"):
        check_adapter(tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2}')
    with pytest.raises(UsageError, match=r"holds no adapter_model.safetensors"):
        check_adapter(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(UsageError, match="is no safetensors file"):
        check_adapter(tmp_path)
    shutil.copy(place / "own" / "adapter_model.safetensors", tmp_path)
    with pytest.raises(UsageError, match="names no base model"):
        adapter_subjects([tmp_path], model=None, quantize=None)


def test_an_adapter_of_another_base_is_refused_with_its_modules(place: Path, tmp_path: Path) -> None:
    other = Base(source=str(SHIPPED / "pocket-llama"))
    with pytest.raises(UsageError, match=r"does not fit .*layers\.0\.mlp\.down_proj is 192 x 512 there, and the"):
        check_fit(other, [Subject(name="own", base=other, adapter=place / "own")])
    t5 = Base(source=str(save_tiny_t5(tmp_path / "t5")))
    with pytest.raises(UsageError, match=r"it has no module model\.layers\.0\.mlp\.down_proj; .* and \d+ more; name"):
        check_fit(t5, [Subject(name="own", base=t5, adapter=place / "own")])


def test_an_adapter_of_its_own_base_fits(place: Path) -> None:
    for base in (Base(source=str(place / "base")), Base(source=str(place / "base"), quantize="nf4")):
        check_fit(base, [Subject(name="own", base=base, adapter=place / "own"), Subject(name="base", base=base)])


def test_a_fingerprint_is_of_weights_and_configuration_alone(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "own", tmp_path / "moved")
    before = adapter_fingerprint(place / "own")
    (tmp_path / "moved" / "method_state.safetensors").write_bytes(b"the auxiliary")
    assert adapter_fingerprint(tmp_path / "moved") == before
    config = json.loads((tmp_path / "moved" / "adapter_config.json").read_text())
    (tmp_path / "moved" / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": 5}))
    assert adapter_fingerprint(tmp_path / "moved") != before
