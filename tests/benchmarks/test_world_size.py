from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import world_size
from benchmarks.world_size import main


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--methods", "bilra"], "--methods: unknown 'bilra', did you mean 'bilora'?"),
        (["--modes", "fsdp"], "--modes: unknown 'fsdp', did you mean 'fsdp2'?"),
        (["--device", "cuda"], "--device: cuda needs 2 GPUs here, found"),
        (["--modes", "ddp-graphed"], "--modes: ddp-graphed needs two GPUs; add --device cuda"),
        (["--dtype", "bfloat16"], "--dtype: found 'bfloat16'"),
    ],
)
def test_bad_input_is_one_line(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    if flags[0] == "--device" and torch.cuda.device_count() > 1:
        pytest.skip("there are two GPUs")
    assert main(flags) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_holds_no_record_is_refused_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "reliability.json"
    for content, message in (("{", "cannot be read"), ("[]", "holds a list; expected an object")):
        out.write_text(content)
        assert main(["--methods", "lora", "--out", str(out)]) == 2
        assert f"--out: {out} {message}" in capsys.readouterr().err
        assert out.read_text() == content
    assert main(["--out", str(tmp_path / "none" / "reliability.json")]) == 2
    assert "does not exist; create it" in capsys.readouterr().err


def test_other_sections_of_the_file_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "reliability.json"
    out.write_text(json.dumps({"kills": {"lossless": 30}, "world_size": {"old": 1}}))

    def measure(methods: Any, modes: Any, **_: Any) -> dict[str, Any]:
        return {"methods": {name: dict.fromkeys(modes, 1e-16) for name in methods}}

    monkeypatch.setattr(world_size, "measure", measure)
    assert main(["--methods", "lora,bilora", "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["kills"] == {"lossless": 30}
    assert found["world_size"]["methods"]["bilora"] == {"ddp": 1e-16, "fsdp2": 1e-16}
