from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

from benchmarks import hub
from benchmarks.errors import UsageError
from benchmarks.hub import commit_of, fetch, is_cached, is_hub_name
from benchmarks.models import fingerprint, locate_model
from tests.models import save_tiny_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def cached(cache: Path) -> Path:
    """Put a model where the hub's own cache would have it."""
    repository = cache / "models--owner--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    return save_tiny_model(repository / "snapshots" / COMMIT)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("Qwen/Qwen2.5-0.5B", True),
        ("Qwen/Qwen2.5-0.5B@main", True),
        ("pocket-llama", False),
        ("/models/llama", False),
        ("./models/llama", False),
        ("a/b/c", False),
    ],
)
def test_names_on_the_hub_have_an_owner(name: str, is_one: bool) -> None:
    assert is_hub_name(name) is is_one


def test_a_cached_model_needs_no_network_and_has_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = cached(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name in ("owner/tiny", "owner/tiny@main", f"owner/tiny@{COMMIT}"):
        assert locate_model(name) == folder
    assert commit_of(folder) == COMMIT
    assert commit_of(tmp_path) is None
    assert (is_cached("owner/tiny@main"), is_cached("owner/other")) == (True, False)
    assert fingerprint(folder) == fingerprint(save_tiny_model(tmp_path / "copy"))


def test_a_model_that_is_not_cached_is_one_line_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UsageError) as error:
        locate_model("owner/other")
    assert str(error.value).startswith(
        "--model: 'owner/other' is no folder here; as a model of the hub it is not cached"
    )
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (GatedRepoError, "asks for its licence to be accepted"),
        (RevisionNotFoundError, "owner/name has no revision 'v9' on the hub"),
        (RepositoryNotFoundError, "is neither a folder nor a shipped model nor a model on the hub"),
    ],
)
def test_what_the_hub_refuses_is_said_with_the_way_on(kind: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise kind("no", response=Mock())

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    with pytest.raises(UsageError, match=f"--model: .*{message}"):
        fetch("owner/name@v9")


def test_pickles_and_code_are_not_fetched_unless_code_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def download(repository: str, **options: Any) -> str:
        asked.update(options, repository=repository)
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", download)
    fetch("owner/name@v1")
    assert (asked["repository"], asked["revision"]) == ("owner/name", "v1")
    assert set(asked["allow_patterns"]) == {"*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"}
    fetch("owner/name", code=True)
    assert asked["revision"] is None
    assert "*.py" in asked["allow_patterns"]


def test_second_copies_of_sdxl_s_weights_are_left_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    from fnmatch import fnmatch

    asked = Mock(return_value="somewhere")
    monkeypatch.setattr(hub, "snapshot_download", asked)
    fetch("stabilityai/stable-diffusion-xl-base-1.0")
    kept, left = (asked.call_args.kwargs[name] for name in ("allow_patterns", "ignore_patterns"))
    wanted = {
        "model_index.json": True,
        "unet/diffusion_pytorch_model.safetensors": True,
        "unet/diffusion_pytorch_model.fp16.safetensors": False,
        "tokenizer/merges.txt": True,
        "tokenizer_2/vocab.json": True,
        "sd_xl_base_1.0.safetensors": False,
        "vae_1_0/diffusion_pytorch_model.safetensors": False,
        "vae_decoder/model.onnx": False,
        "text_encoder/flax_model.msgpack": False,
    }
    for file, is_wanted in wanted.items():
        assert (any(fnmatch(file, p) for p in kept) and not any(fnmatch(file, p) for p in left)) is is_wanted
