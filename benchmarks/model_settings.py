"""The settings of a comparison that say which model is trained, and how it is held and asked."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import parsing
from benchmarks.parsing import setting

DTYPES = ("auto", "float32", "bfloat16", "float16")
DEVICE_MAPS = ("auto",)
ATTENTION = ("sdpa", "eager", "flash_attention_2")


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Which model, in which precision, and what of it is adapted."""

    model: str | None = setting(
        None,
        parsing.optional(parsing.text),
        "model that ships with the project, a model folder, or OWNER/NAME[@REVISION] on the hub; none: each task's own "
        "base",
        metavar="NAME",
    )
    quantize: str | None = setting(
        None, parsing.optional(parsing.choice("nf4")), "nf4 puts every method on a 4-bit base", metavar="nf4|none"
    )
    dtype: str = setting(
        "float32",
        parsing.choice(*DTYPES),
        "type of the frozen weights, auto: as stored; adapters and their optimizer are float32",
        metavar="|".join(DTYPES),
    )
    attention: str | None = setting(
        None,
        parsing.optional(parsing.choice(*ATTENTION)),
        "implementation of attention; none: the model's default, sdpa where it has it",
        metavar="|".join(ATTENTION),
    )
    gradient_checkpointing: bool = setting(
        False,
        parsing.switch,
        "recompute activations in the backward pass: less memory, more time",
        metavar="true|false",
    )
    trust_remote_code: bool = setting(
        False, parsing.switch, "run Python code of the model's own repository", metavar="true|false"
    )
    device_map: str | None = setting(
        None,
        parsing.optional(parsing.choice(*DEVICE_MAPS)),
        "auto: the layers of one model spread over the GPUs of this machine, which take turns; none: one GPU",
        metavar="auto|none",
    )
    target_modules: tuple[str, ...] = setting(
        ("all-linear",),
        parsing.names,
        "names of the adapted modules, e.g. q_proj,v_proj; all-linear: every linear layer but embeddings and head",
        metavar="A,B",
    )
    chat_template: str = setting(
        "auto",
        parsing.choice("auto", "none"),
        "auto: instructions and chats by the model's template, if it has one; none: as plain text",
        metavar="auto|none",
    )
