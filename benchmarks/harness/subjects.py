"""What is scored: adapters on a base, or the base itself, checked before anything large is read.

An adapter is a folder in PEFT's format with safetensors weights. What its weights are called says which modules of the
base they belong to; that is compared with a copy of the base without weights, so that an adapter of another model is
refused with the modules that do not fit before the base is loaded. Bi-LoRA's auxiliary is never scored: folders of
runs hold its factors in a file that PEFT does not read, and a folder that PEFT has written for it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from analysis.adapter_folder import CONFIG, WEIGHTS, AdapterFolder, check_adapter_folder
from analysis.errors import AnalysisError
from benchmarks.errors import UsageError, one_line
from benchmarks.language import language_kind
from benchmarks.model_configuration import read_config
from benchmarks.models import SHIPPED, check_files, fingerprint_of, shipped_models
from bilora.auxiliary import AUXILIARY

_PREFIX = "base_model.model."
# LoRA with DoRA's magnitudes, HiRA and DeLoRA; weights of other tuners are left to PEFT's own checks.
_FACTOR = re.compile(r"^(?P<module>.+)\.(?:lora|hira|delora)_(?P<part>[A-Za-z_]+?)(?:\.weight)?$")
_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Base:
    """A model that adapters sit on.

    Attributes:
        source: Folder, or name on the hub.
        tokenizer: Where its tokenizer is, if elsewhere.
        quantize: "nf4" for 4-bit weights, or None.
    """

    source: str
    tokenizer: str | None = None
    quantize: str | None = None


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A base, alone or with an adapter.

    Attributes:
        name: How it is called in tables and folders.
        base: The model.
        adapter: Folder of the adapter, or None.
    """

    name: str
    base: Base
    adapter: Path | None = None


def adapter_subjects(folders: Sequence[Path], *, model: str | None, quantize: str | None) -> list[Subject]:
    """Return the subjects that adapter folders make.

    Args:
        folders: Folders of adapters.
        model: Base of all of them; None takes the one that each names.
        quantize: "nf4" or None.

    Raises:
        UsageError: A folder is no adapter, is Bi-LoRA's auxiliary, holds pickled weights, or names no base.
    """
    for folder in folders:
        check_adapter(folder)
    bases = [locate_base(model, flag="--model") if model else _named_base(folder) for folder in folders]
    return [
        Subject(name=name, base=Base(source=source, quantize=quantize), adapter=folder)
        for folder, name, source in zip(folders, _names(folders), bases, strict=True)
    ]


def check_adapter(folder: Path) -> None:
    """Refuse what is not a primary adapter in safetensors format.

    Raises:
        UsageError: With what was found and what to do.
    """
    if folder.absolute().name == AUXILIARY:
        raise UsageError(
            f"--adapter: {folder} is the auxiliary adapter of Bi-LoRA, which is an adversary and no part of the model; "
            f"expected the primary one, {folder.absolute().parent}"
        )
    if not (folder / CONFIG).is_file() and (folder / "config.json").is_file():
        raise UsageError(f"--adapter: {folder} holds a whole model; score it with --base --model {folder}")
    _read(folder)


def _read(folder: Path) -> AdapterFolder:
    try:
        return check_adapter_folder(folder)
    except AnalysisError as error:
        raise UsageError(str(error)) from None


def adapter_fingerprint(folder: Path) -> str:
    """Return a hash of an adapter's configuration and weights (16 hex digits)."""
    return fingerprint_of([folder / CONFIG, folder / WEIGHTS], folder=folder)


def locate_base(name: str, *, flag: str) -> str:
    """Return the folder or the hub's name that a base is loaded from.

    A folder that was written on another machine and is a shipped model there is the shipped model here.

    Raises:
        UsageError: There is no such folder, and it cannot be a name on the hub.
    """
    if name in shipped_models():
        return str(SHIPPED / name)
    if Path(name).is_dir():
        check_files(Path(name), flag=flag)
        return name
    if Path(name).name in shipped_models() and Path(name).parent.name == SHIPPED.name:
        return str(SHIPPED / Path(name).name)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return name
    raise UsageError(
        f"{flag}: the base {name!r} is neither a folder, a shipped model ({', '.join(shipped_models())}) nor a name on "
        "the hub (OWNER/NAME); name it with --model"
    )


def check_fit(base: Base, subjects: Sequence[Subject]) -> None:
    """Compare adapters with a copy of their base that has no weights.

    Raises:
        UsageError: The configuration of the base cannot be read, or an adapter does not fit, with its modules.
    """
    adapters = [subject.adapter for subject in subjects if subject.adapter is not None]
    config = read_config(base.source)
    if not adapters:
        return
    try:
        with torch.device("meta"):
            model = language_kind(config).model_class.from_config(config)
    except Exception as error:  # of any class: the values are somebody else's
        reason = one_line(error)
        raise UsageError(f"--model: {base.source} cannot be read as a language model: {reason}") from None
    modules = dict(model.named_modules())
    for folder in adapters:
        misfits = _misfits(_read(folder).shapes, modules)
        if misfits:
            more = f" and {len(misfits) - _NAMED} more" if len(misfits) > _NAMED else ""
            raise UsageError(
                f"--adapter: {folder} does not fit the base {base.source}: {'; '.join(misfits[:_NAMED])}{more}; "
                "name the adapter's own base with --model"
            )


def _misfits(shapes: dict[str, tuple[int, ...]], modules: dict[str, Any]) -> list[str]:
    """Return what is wrong with the modules that adapter weights belong to, one line a module."""
    found: dict[str, str] = {}
    for key, shape in shapes.items():
        match = _FACTOR.match(key.removeprefix(_PREFIX))
        if match is None or match["module"] in found:
            continue
        name, part = match["module"], match["part"]
        if name not in modules:
            found[name] = f"it has no module {name}"
            continue
        own = tuple(getattr(getattr(modules[name], "weight", None), "shape", ()))
        size = shape[-1] if part == "A" else shape[0] if part == "B" else None
        # Which side is which depends on the kind of layer (GPT-2 keeps its weights transposed).
        if size is not None and len(own) == 2 and size not in own:
            found[name] = f"{name} is {own[0]} x {own[1]} there, and the adapter's {part} has {size}"
    return list(found.values())


def _named_base(folder: Path) -> str:
    name = _read(folder).config.get("base_model_name_or_path")
    if not name:
        raise UsageError(f"--adapter: {folder / CONFIG} names no base model; name it with --model")
    return locate_base(str(name), flag=f"--adapter: {folder / CONFIG}")


def _names(folders: Sequence[Path]) -> list[str]:
    """Return short names that differ: the folder's own, or, in a run store, that of its run."""
    names = []
    for folder in folders:
        path = folder.absolute()
        names.append(path.parent.name if path.name == "adapter" else path.name)
    twice = {name for name in names if names.count(name) > 1}
    unique = [
        "_".join(folder.absolute().parts[1:]) if name in twice else name
        for folder, name in zip(folders, names, strict=True)
    ]
    if len(set(unique)) < len(unique):
        raise UsageError("--adapter: the same folder is named twice; expected every adapter once")
    return unique
