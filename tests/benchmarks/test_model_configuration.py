from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.errors import UsageError
from benchmarks.model_configuration import read_config
from tests.models import save_tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"))


def test_a_configuration_is_read_from_a_folder(folder: Path) -> None:
    config = read_config(folder)
    assert (config.model_type, config.hidden_size, config.architectures) == ("llama", 16, ["LlamaForCausalLM"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_size": "many"}, "cannot be read: .*'hidden_size' expected int, got str"),
        ({"rope_parameters": 5}, "cannot be read: .*'rope_parameters'"),
        ({"model_type": ["llama"]}, "cannot be read: "),
        ({"model_type": "absent"}, "cannot be read: .*`absent`"),
        ({"architectures": 5}, "has architectures 5; expected a list of names"),
        ({"architectures": [5]}, r"has architectures \[5\]; expected a list of names"),
    ],
)
def test_values_that_no_model_can_have_are_refused_in_one_line(
    folder: Path, tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    content = json.loads((folder / "config.json").read_text()) | values
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=rf"^--flag: {tmp_path} {message}") as error:
        read_config(tmp_path, flag="--flag")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, "\x00"])
def test_a_file_that_holds_no_configuration_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UsageError, match=rf"^--model: {tmp_path} cannot be read") as error:
        read_config(tmp_path)
    assert "\n" not in str(error.value)
