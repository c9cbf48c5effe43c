"""Reads the configuration of a model, whoever has written it, and says in one line what is wrong with it.

Transformers checks some fields when it reads them and leaves others for the model to fall over; what it raises is of
many classes, and a user should see none of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoConfig

from benchmarks.errors import UsageError, one_line, shortened


def read_config(source: str | Path, *, flag: str = "--model", trust_remote_code: bool = False) -> Any:
    """Return the configuration of a model.

    Args:
        source: A folder, of which nothing but its files is read, or a name on the hub.
        flag: What named the model, for errors.
        trust_remote_code: Run the code of a folder that brings its own.

    Raises:
        UsageError: If it cannot be read, needs code that is not trusted, or names no architectures where it should.
    """
    local = Path(source).is_dir()
    try:
        config = AutoConfig.from_pretrained(source, local_files_only=local, trust_remote_code=trust_remote_code)
    except Exception as error:  # of any class: the values are somebody else's
        reason = one_line(error)
        if "trust_remote_code" in reason:
            # One of the commands has the flag.
            reason = "it needs code of its own repository; benchmarks.compare --trust-remote-code true runs that"
        raise UsageError(f"{flag}: {source} cannot be read: {reason}") from None
    names = config.architectures
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise UsageError(f"{flag}: {source} has architectures {shortened(names)}; expected a list of names")
    return config
