from __future__ import annotations

import json

import pytest
import torch

from analysis import AnalysisError, SettingsError
from analysis.adapter_file import read_adapter
from analysis.low_rank import dense
from analysis.spaces import adapted_layers


@pytest.mark.parametrize("config", [{}, {"use_rslora": True}, {"rank_pattern": {"v_proj": 1}}])
def test_factors_are_those_of_the_model_that_was_saved(tiny_lora, tmp_path, config) -> None:
    model = tiny_lora(config=config)
    model.save_pretrained(tmp_path)
    found = read_adapter(tmp_path)
    layers = {layer.name: layer for layer in adapted_layers(model)}
    assert set(found) == set(layers)
    for name, layer in layers.items():
        torch.testing.assert_close(dense(found[name]), (layer.scaling * layer.B @ layer.A).detach())


def test_what_is_no_plain_adapter_is_refused(tiny_lora, tmp_path) -> None:
    with pytest.raises(AnalysisError, match=r"holds no adapter_config.json"):
        read_adapter(tmp_path)
    tiny_lora().save_pretrained(tmp_path)
    path = tmp_path / "adapter_config.json"
    config = json.loads(path.read_text())
    for change, named in (({"use_dora": True}, "use_dora"), ({"peft_type": "HIRA"}, "HIRA")):
        path.write_text(json.dumps({**config, **change}))
        with pytest.raises(SettingsError, match=rf"not a plain LoRA adapter \({named}\)"):
            read_adapter(tmp_path)


@pytest.mark.parametrize("alpha", ["1" + "0" * 400, "NaN", "Infinity", "true", '"4"', "null"])
def test_an_alpha_that_is_no_number_is_refused(alpha: str, tiny_lora, tmp_path) -> None:
    tiny_lora().save_pretrained(tmp_path)
    path = tmp_path / "adapter_config.json"
    config = json.loads(path.read_text()) | {"lora_alpha": "ALPHA"}
    path.write_text(json.dumps(config).replace('"ALPHA"', alpha))
    with pytest.raises(SettingsError, match="lora_alpha"):
        read_adapter(tmp_path)
