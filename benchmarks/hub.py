"""Models from the Hugging Face hub, as folders in its cache: configuration, tokenizer and safetensors, never a pickle.

A name is OWNER/NAME, with @REVISION for a branch, tag or commit. The commit that was found is part of a run's key. What
is in the cache needs no network, and `HF_HUB_OFFLINE=1` asks for none.
"""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

from benchmarks.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")
_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
# Second copies of the weights, in other formats or types, and SDXL's in one file.
_LEFT = (
    *("original/*", "onnx/*", "openvino/*", "coreml/*"),
    *("*.fp16.safetensors", "*.non_ema.safetensors", "sd_xl_*.safetensors"),
    *("vae_1_0/*", "vae_decoder/*", "vae_encoder/*"),
)


def is_hub_name(name: str) -> bool:
    """Return whether a name could be one on the hub."""
    return _NAME.fullmatch(name) is not None


def fetch(name: str, *, code: bool = False) -> Path:
    """Return the folder of a model in the hub's cache, fetched if it is not there.

    Args:
        name: OWNER/NAME or OWNER/NAME@REVISION.
        code: Fetch the repository's Python files too.

    Raises:
        UsageError: If it does not exist, may not be read, or can neither be found in the cache nor be fetched.
    """
    repository, _, revision = name.partition("@")
    patterns = [*_FILES, "*.py"] if code else list(_FILES)
    try:
        return Path(
            snapshot_download(
                repository, revision=revision or None, allow_patterns=patterns, ignore_patterns=list(_LEFT)
            )
        )
    except GatedRepoError:
        raise UsageError(
            f"--model: {repository} asks for its licence to be accepted: do so on its page on the hub, then log in "
            "with `hf auth login`"
        ) from None
    except RevisionNotFoundError:
        raise UsageError(f"--model: {repository} has no revision {revision!r} on the hub") from None
    except RepositoryNotFoundError:
        raise UsageError(
            f"--model: {repository!r} is neither a folder nor a shipped model nor a model on the hub (a private one "
            "needs `hf auth login`)"
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--model: {name!r} is no folder here; as a model of the hub it is not cached, and the hub cannot be "
            f"reached ({type(error).__name__}); fetch it where there is a network, or name a folder"
        ) from None


def is_cached(name: str) -> bool:
    """Return whether the configuration of a model is in the hub's cache, of a language model or of a pipeline."""
    repository = name.partition("@")[0]
    return any(
        isinstance(try_to_load_from_cache(repository, file), str) for file in ("config.json", "model_index.json")
    )


def commit_of(folder: Path) -> str | None:
    """Return the commit of a folder in the hub's cache; None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" and re.fullmatch(r"[0-9a-f]{40}", folder.name) else None
