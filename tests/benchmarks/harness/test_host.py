from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import HiraConfig, PeftModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from benchmarks.errors import UsageError
from benchmarks.harness.host import adapted, load_base
from benchmarks.harness.subjects import Base
from bilora import attach
from tests.adapters import save_adapter
from tests.models import save_tiny_model
from tests.tiny import lora_config, moved_off_zero

CPU = torch.device("cpu")
TOKENS = torch.arange(4, 20).unsqueeze(0)


def logits(model: object) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=TOKENS).logits  # type: ignore[operator]
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("host")
    save_tiny_model(folder / "base")
    return folder


def loaded(place: Path) -> AutoModelForCausalLM:
    return load_base(Base(source=str(place / "base")), dtype="float32", device=CPU)[0]


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")
@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning")
def test_each_adapter_meets_the_base_as_it_was_bit_for_bit(place: Path) -> None:
    """Of whatever kind the one before it was; the oracle loads the base anew for each."""
    kinds = {
        "lora": {},
        "dora": {"use_dora": True},
        "saved": {"modules_to_save": ["lm_head"]},
        "embedding": {"target_modules": ["embed_tokens", "q_proj"]},
        "hira": {"config": HiraConfig(r=2, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")},
    }
    folders = {
        name: save_adapter(place / name, place / "base", seed=seed, **settings)  # type: ignore[arg-type]
        for seed, (name, settings) in enumerate(kinds.items())
    }
    base = loaded(place)
    weights = {name: value.clone() for name, value in base.state_dict().items()}
    modules = {name: id(module) for name, module in base.named_modules()}
    plain = logits(base)
    for name in [*folders, *reversed(folders)]:
        fresh = AutoModelForCausalLM.from_pretrained(place / "base")
        wanted = logits(PeftModel.from_pretrained(fresh, folders[name]).eval())
        with adapted(base, folders[name]) as model:
            assert torch.equal(logits(model), wanted)
        assert not torch.equal(wanted, plain)
        assert torch.equal(logits(base), plain)
    assert {name: id(module) for name, module in base.named_modules()} == modules
    assert all(torch.equal(value, weights[name]) for name, value in base.state_dict().items())
    with adapted(base, None) as model:
        assert model is base


def test_the_auxiliary_is_never_active(place: Path) -> None:
    """The folder of a Bi-LoRA run: the primary, auxiliary factors beside it, and below it as PEFT may write them."""
    base = AutoModelForCausalLM.from_pretrained(place / "base")
    model, method = attach(base, lora_config(), method="bilora")
    moved_off_zero(model)
    model.eval()
    model.save_pretrained(place / "run")
    assert (place / "run" / "auxiliary" / "adapter_model.safetensors").is_file()
    save_file(method.state_dict(), place / "run" / "method_state.safetensors")
    both = logits(model)
    with method.evaluation():
        primary = logits(model)
    with adapted(loaded(place), place / "run") as scored:
        assert list(scored.peft_config) == ["default"]
        assert not any("auxiliary" in name for name, _ in scored.named_parameters())
        found = logits(scored)
    torch.testing.assert_close(found, primary)
    assert not torch.allclose(found, both)


def test_lengths_of_the_models_own_configuration_do_not_win(place: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(place / "base")
    model.generation_config.max_new_tokens = 7
    model.save_pretrained(place / "long")
    base = Base(source=str(place / "long"), tokenizer=str(place / "base"))
    assert load_base(base, dtype="bfloat16", device=CPU)[0].generation_config.max_new_tokens is None


def test_four_bits_and_other_types_are_loaded(place: Path) -> None:
    half = load_base(Base(source=str(place / "base")), dtype="bfloat16", device=CPU)[0]
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    base = Base(source=str(place / "base"), quantize="nf4")
    quantized, tokenizer = load_base(base, dtype="float32", device=CPU)
    assert type(quantized.model.layers[0].mlp.up_proj).__name__ == "Linear4bit"
    assert tokenizer.pad_token_id is not None
    folder = save_adapter(place / "on-four-bits", place / "base")
    before = logits(quantized)
    with adapted(quantized, folder) as model:
        assert not torch.equal(logits(model), before)
    assert torch.equal(logits(quantized), before)


def test_what_cannot_be_read_is_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: Unrecognized model"):
        load_base(Base(source=str(tmp_path)), dtype="float32", device=CPU)
    (place / "pickled").mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (place / "pickled" / name).write_bytes((place / "base" / name).read_bytes())
    (place / "pickled" / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(UsageError, match="safetensors"):
        load_base(Base(source=str(place / "pickled")), dtype="float32", device=CPU)
