from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from analysis import AnalysisError
from analysis.weight_files import check_links, check_weights, read_small_json


class Bomb:
    """A pickle of it would make the folder `unpickled` if it were ever read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.mkdir, (Path("unpickled"),)  # type: ignore[return-value]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model"
    path.mkdir()
    save_file({"a": torch.zeros(2, 3)}, path / "model.safetensors")
    return path


def test_shapes_are_read_from_the_headers(folder: Path) -> None:
    save_file({"b": torch.zeros(5)}, folder / "more.safetensors")
    assert check_weights(folder, flag="--model") == {"a": (2, 3), "b": (5,)}


@pytest.mark.parametrize("protocol", [2, 5])
def test_a_pickle_is_refused_with_the_reason_under_either_name(folder: Path, protocol: int) -> None:
    content = pickle.dumps(Bomb(), protocol=protocol)
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(AnalysisError, match=r"is a pickle, which can run any code when it is read; .* only"):
        check_weights(folder, flag="--model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(AnalysisError, match=r"pytorch_model.bin holds its weights as a pickle, which can run any code"):
        check_weights(folder, flag="--model")
    assert not Path("unpickled").exists()


def test_what_torch_saves_is_refused_under_a_safe_name(folder: Path) -> None:
    torch.save({"a": torch.zeros(2)}, folder / "model.safetensors")
    with pytest.raises(AnalysisError, match=r"is a zip archive, as torch.save writes"):
        check_weights(folder, flag="--model")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no safetensors file"),
        (b"\x00" * 64, "no safetensors file"),
        ((2**40).to_bytes(8, "little") + b"{}", "its header would have 1099511627776 bytes"),
        (
            (60).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[9999],"data_offsets":[0,39996]}}'[:60],
            "no safetensors file",
        ),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused(folder: Path, content: bytes, why: str) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(AnalysisError, match=why):
        check_weights(folder, flag="--model")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "../other/model.safetensors", "/etc/x.safetensors", 5])
def test_an_index_may_name_nothing_but_safetensors_beside_it(folder: Path, name: object) -> None:
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model.safetensors"}}))
    check_weights(folder, flag="--model")
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(AnalysisError, match=r"expected \*.safetensors files beside it"):
        check_weights(folder, flag="--model")


def test_links_may_not_lead_out_but_for_the_hubs_cache(folder: Path, tmp_path: Path) -> None:
    (folder / "inside").symlink_to("model.safetensors")
    check_links(folder, flag="--model")
    (folder / "config.json").symlink_to("/etc/hostname")
    with pytest.raises(AnalysisError, match=r"config.json is a link out of its folder"):
        check_links(folder, flag="--model")
    repository = tmp_path / "models--owner--name"
    (repository / "blobs").mkdir(parents=True)
    (repository / "blobs" / "abc").write_text("x")
    snapshot = repository / "snapshots" / "1234"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").symlink_to("../../blobs/abc")
    check_links(snapshot, flag="--model")
    (snapshot / "other.json").symlink_to("../../../model/model.safetensors")
    with pytest.raises(AnalysisError, match="link out of its folder"):
        check_links(snapshot, flag="--model")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[1]", "holds a list"),
        ("{", "not valid JSON"),
        ('{"r": ' + "1" * 5000 + "}", "not valid JSON: Exceeds the limit"),
    ],
)
def test_json_that_cannot_be_used_is_one_line(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(AnalysisError, match=why) as caught:
        read_small_json(path, flag="--adapter")
    assert "\n" not in str(caught.value)
    with path.open("wb") as file:
        file.truncate(2**36)
    with pytest.raises(AnalysisError, match="expected at most"):
        read_small_json(path, flag="--adapter")
