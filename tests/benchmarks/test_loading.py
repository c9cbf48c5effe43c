from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from benchmarks.classification import SequenceClassifier
from benchmarks.errors import UsageError
from benchmarks.language import LanguageModel
from benchmarks.loading import LoadOptions, load_model, open_model
from benchmarks.models import locate_model
from tests.models import save_tiny_model, save_tiny_t5
from tests.real_data import save_chat_model, save_classifier

CPU = torch.device("cpu")


@pytest.mark.parametrize(("dtype", "found"), [("bfloat16", torch.bfloat16), ("auto", torch.float32)])
def test_frozen_weights_have_the_type_that_is_asked_for(tmp_path: Path, dtype: str, found: torch.dtype) -> None:
    model, _ = load_model(save_tiny_model(tmp_path), device=CPU, options=LoadOptions(dtype=dtype))
    assert {p.dtype for p in model.parameters()} == {found}


def test_attention_is_the_one_asked_for_and_the_models_own_otherwise(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path)
    for attention, found in ((None, "sdpa"), ("eager", "eager"), ("sdpa", "sdpa")):
        model, _ = load_model(folder, device=CPU, options=LoadOptions(attention=attention))
        assert model.config._attn_implementation == found


def test_a_map_that_leaves_layers_outside_the_gpus_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, asked = save_tiny_model(tmp_path), []

    class Offloading:
        @staticmethod
        def from_pretrained(folder: Path, *, device_map: Any, **options: Any) -> Any:
            asked.append(device_map)
            return SimpleNamespace(hf_device_map={"model.layers.0": 0, "model.layers.1": "cpu", "lm_head": "disk"})

    monkeypatch.setattr("benchmarks.loading.language_kind", lambda config: SimpleNamespace(model_class=Offloading))
    message = (
        "--device-map: the GPUs have no room for 2 parts of the model .the first, model.layers.1, would lie on cpu"
    )
    with pytest.raises(UsageError, match=message):
        load_model(folder, device=torch.device("cuda"), options=LoadOptions(device_map="auto"))
    assert asked == ["auto"]


def test_checkpointing_leaves_loss_and_gradient_as_they_are(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path)
    tokens = torch.arange(2, 12)[None]
    found = []
    for on in (False, True):
        base, _ = open_model(folder, device=CPU, options=LoadOptions(gradient_checkpointing=on))
        assert any(getattr(m, "gradient_checkpointing", False) for m in base.modules()) is on
        torch.manual_seed(0)
        model = get_peft_model(base, LoraConfig(target_modules="all-linear", init_lora_weights=False)).train()
        model(input_ids=tokens, labels=tokens).loss.backward()
        found.append([p.grad for p in model.parameters() if p.grad is not None])
    assert len(found[0]) == 2 * 14
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_each_kind_of_model_gets_what_reads_its_inputs(tmp_path: Path) -> None:
    def opened(folder: Path, **options: Any) -> Any:
        return open_model(folder, device=CPU, options=LoadOptions(**options))[1]

    assert isinstance(opened(save_classifier(tmp_path / "c"), labels=2), SequenceClassifier)
    for save in (save_tiny_model, save_tiny_t5):
        assert isinstance(opened(save(tmp_path / save.__name__)), LanguageModel)


def test_a_head_for_another_number_of_labels_is_fresh_and_the_seeds(tmp_path: Path) -> None:
    folder = save_classifier(tmp_path, labels=2)
    kept, _ = load_model(folder, device=CPU, options=LoadOptions(labels=2))
    stored, _ = load_model(folder, device=CPU, options=LoadOptions(labels=2, seed=1))
    assert torch.equal(kept.classifier.weight, stored.classifier.weight)
    heads = [
        load_model(folder, device=CPU, options=LoadOptions(labels=3, seed=seed))[0].classifier.weight
        for seed in (0, 0, 1)
    ]
    assert heads[0].shape == (3, 16)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_all_linear_layers_are_adapted_but_embeddings_and_head(tmp_path: Path) -> None:
    """The seven of a Llama, T5's q, k, v, o, wi, wo, and not the head of a classifier."""

    def adapted(folder: Path, **options: Any) -> set[str]:
        model, architecture = open_model(folder, device=CPU, options=LoadOptions(**options))
        config = LoraConfig(target_modules=architecture.target_modules, task_type=architecture.task_type)
        names = [name for name, module in get_peft_model(model, config).named_modules() if hasattr(module, "lora_A")]
        return {name.rsplit(".", 1)[-1] for name in names}

    llama = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert adapted(save_chat_model(tmp_path / "llama")) == llama
    folder = save_tiny_t5(tmp_path / "t5")
    config = json.loads((folder / "config.json").read_text())
    assert adapted(folder) == {"q", "k", "v", "o", "wi", "wo"}
    assert config["feed_forward_proj"] == "relu"
    assert adapted(locate_model("pocket-t5")) == {"q", "k", "v", "o", "wi_0", "wi_1", "wo"}
    assert adapted(save_classifier(tmp_path / "bert"), labels=2) == {"query", "key", "value", "dense"}


def test_pickles_are_refused_with_the_reason(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(UsageError, match=r"pytorch_model.bin .* as a pickle, which can run any code when it is read"):
        locate_model(str(folder))


def test_code_of_a_model_is_run_only_where_that_is_asked_for(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "configuration_own.OwnConfig"}}
    (folder / "config.json").write_text(json.dumps(config))
    mark = tmp_path / "was-run"
    (folder / "configuration_own.py").write_text(
        f"from transformers import LlamaConfig\nopen({str(mark)!r}, 'w').close()\nclass OwnConfig(LlamaConfig):\n"
        "    model_type = 'own'\n"
    )
    with pytest.raises(UsageError, match=r"repository; benchmarks\.compare --trust-remote-code true runs that"):
        locate_model(str(folder))
    assert not mark.exists()
    assert locate_model(str(folder), trust_remote_code=True) == folder
    assert mark.exists()
