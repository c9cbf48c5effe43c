"""One colour, marker and label for each training method, in every figure and on every page.

Hues start from the Okabe-Ito set, which stays apart under the common forms of colour blindness, and are held at
middle lightness so that one colour reads on white and on near-black alike (contrast of at least 3 to 1 on both).
There are more methods than separable hues: two methods may share a hue, never a hue and a marker.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

#: Page backgrounds against which colours are chosen.
LIGHT_PAPER = "#ffffff"
DARK_PAPER = "#14171a"

_GREY, _VERMILION, _BLUE, _GREEN = "#737b85", "#d55e00", "#0f7ac0", "#12936d"
_PURPLE, _OCHRE, _RED, _VIOLET = "#b8649a", "#a67c00", "#c8424a", "#7f6bd0"


@dataclass(frozen=True, kw_only=True)
class MethodStyle:
    """How one method looks: `label` in words, `colour` as #rrggbb, `marker` as matplotlib names it.

    `hollow` marks a method that runs on an adapter variant other than plain LoRA.
    """

    label: str
    colour: str
    marker: str
    hollow: bool = False


#: name -> (label, colour, marker), in the order in which methods are listed.
METHODS: dict[str, tuple[str, str, str]] = {
    "full-ft": ("Full fine-tuning", _GREY, "s"),
    "lora": ("LoRA", _GREY, "o"),
    "lora-sam": ("LoRA-SAM", _VERMILION, "s"),
    "bilora": ("Bi-LoRA", _BLUE, "D"),
    "bilora-exact": ("Bi-LoRA (exact)", _BLUE, "^"),
    "dual-lora": ("Dual LoRA", _BLUE, "v"),
    "rop": ("ROP", _GREEN, "o"),
    "rwp-full": ("RWP (full)", _GREEN, "s"),
    "rwp-lora": ("RWP (LoRA)", _GREEN, "D"),
    "flat-lora": ("Flat-LoRA", _PURPLE, "o"),
    "eflat-lora": ("EFlat-LoRA", _PURPLE, "s"),
    "lora-obar": ("LoRA-oBAR", _OCHRE, "o"),
    "lora-nbar": ("LoRA-nBAR", _OCHRE, "s"),
    "lora-esam": ("LoRA-ESAM", _VERMILION, "^"),
    "lora-looksam": ("LoRA-LookSAM", _VERMILION, "v"),
    "wsam": ("WSAM", _VIOLET, "o"),
    "s2sam": ("S²-SAM", _VIOLET, "s"),
    "msam": ("MSAM", _VIOLET, "^"),
    "adazo-sam": ("AdaZo-SAM", _VIOLET, "D"),
    "asam": ("ASAM", _RED, "o"),
    "gsam": ("GSAM", _RED, "s"),
    "fsam": ("F-SAM", _RED, "D"),
    "qlora": ("QLoRA", _GREY, "D"),
    "qlora-sam": ("QLoRA-SAM", _VERMILION, "D"),
    "bi-qlora": ("Bi-QLoRA", _BLUE, "o"),
}
_VARIANTS = {"dora": "DoRA", "pissa": "PiSSA", "lora-ga": "LoRA-GA", "hira": "HiRA", "delora": "DeLoRA"}
#: name -> (in a heading, in a sentence).
_SPACES = {
    "full": ("Full space (merged W)", "the full space"),
    "lora": ("LoRA space (A, B), balanced gauge", "the LoRA space"),
    "tangent": ("Tangent space of (A, B)", "the tangent space"),
    "auxiliary": ("Auxiliary pair", "the auxiliary space"),
    "all": ("All parameters", "the space of all parameters"),
}


def method_style(name: str) -> MethodStyle:
    """Return the fixed look of a method, or of `variant+method`; an unknown name keeps a look of its own."""
    variant, _, method = name.rpartition("+")
    if method in METHODS:
        label, colour, marker = METHODS[method]
    else:
        # The name decides, so that an unknown method looks the same beside whatever it is compared with.
        choice = hashlib.sha256(method.encode()).digest()
        hues = (_GREEN, _PURPLE, _OCHRE, _RED, _VIOLET)
        label, colour, marker = method, hues[choice[0] % len(hues)], "PX*<>"[choice[1] % 5]
    if variant:
        label = f"{_VARIANTS.get(variant, variant)} + {label}"
    return MethodStyle(label=label, colour=colour, marker=marker, hollow=bool(variant))


def method_label(name: str) -> str:
    """Return a method's name as it is written in text."""
    return method_style(name).label


def variant_label(name: str) -> str:
    """Return an adapter variant's name as it is written in text; plain LoRA has an empty name."""
    return _VARIANTS.get(name, name) if name else "LoRA"


def task_look(place: int) -> dict[str, Any]:
    """Return colour and marker keywords of the task at a place in its comparison, where lines are tasks."""
    hues = (_BLUE, _VERMILION, _GREEN, _PURPLE, _OCHRE, _VIOLET, _RED, _GREY)
    return {"color": hues[place % len(hues)], "marker": "osD^vPX*<>"[place % 10]}


def space_label(name: str) -> str:
    """Return a parameter space's name as a heading."""
    return _SPACES[name][0] if name in _SPACES else name


def space_phrase(name: str) -> str:
    """Return a parameter space's name as it stands in a sentence."""
    return _SPACES[name][1] if name in _SPACES else f"the space {name}"


def order_spaces(names: set[str]) -> tuple[str, ...]:
    """Return space names in the fixed order: the known ones first, then the others by name."""
    known = [name for name in _SPACES if name in names]
    return (*known, *sorted(names - set(known)))
