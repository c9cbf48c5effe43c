"""What is written beside the weights: the record of the run as JSON, the curve as a picture, the model card.

The card is rendered from the record alone, so it can never say something that was not measured.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib
import torch
import transformers

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from benchmarks.pocket.training import CurvePoint

RECORD = "training_curve.json"
PICTURE = "training_curve.png"
CARD = "README.md"


@dataclass(frozen=True, kw_only=True)
class CardText:
    """What a card says in words about one base.

    Attributes:
        task: Pipeline of the model hub.
        kind: What the base is, before its size.
        curricula: What is generated.
        form: What an input and an output look like.
        limits: What the base was not trained on.
    """

    task: str
    kind: str
    curricula: str
    form: str
    limits: str


_LLAMA = CardText(
    task="text-generation",
    kind="A Llama",
    curricula="""arithmetic, stories of quantities in one to three steps, simple
English from a grammar, lists, strings, small Python functions, instructions, and dialogues. Documents are held out
by a checksum of their text or file name.""",
    form="A prompt starts with `<bos>`, which the tokenizer adds by itself; a completion ends with `<eos>`.",
    limits="""Numbers above 999 and stories of more than three steps are outside what it was trained on. Contexts longer
than 256 tokens were never seen.""",
)
_T5 = CardText(
    task="text2text-generation",
    kind="A T5 (gated feed-forward layers, tied embeddings)",
    curricula="""English paragraphs with agreement, tenses and both
voices, the same in other words and in the plainest ones, questions about what was read, sentences with a fault to
repair, which of a few sentences are well formed or say the same as another one, and in smaller shares arithmetic,
stories of quantities, lists, strings, small Python functions, instructions and dialogues. Paragraphs and the standard
library's text are corrupted by spans (15 % of the tokens, three in a span on average, Raffel et al. 2020); the others
are inputs with their answers as targets. Documents are held out by a checksum of their text or file name.""",
    form="""An input ends with `<eos>`, which the tokenizer adds by itself; the decoder starts with `<bos>` and ends
with `<eos>`. `<extra_id_0>` to `<extra_id_31>` stand for spans. Losses below are those of the targets.""",
    limits="""It was never asked to judge one sentence or one pair, and a quarter of the sentences of its tasks'
grammars, told by a checksum, is in none of its texts. Inputs longer than 256 tokens and answers longer than 96 were
never seen.""",
)
_TEXTS = {"pocket-llama": _LLAMA, "pocket-t5": _T5}


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """Everything measured in a pretraining run.

    Attributes:
        model: Name of the base.
        command: The command line that made it.
        parameters: Number of weights, tied embeddings counted once.
        settings: Shape, corpus and optimizer settings.
        environment: Hardware and versions.
        seconds: Time by phase.
        curve: Training loss over steps.
        held_out_loss: Nats per token by source, of the saved bf16 weights.
        fixed_documents: Count and losses of the few held-out documents that a test recomputes.
        pass_rate: Share of held-out items solved, by curriculum.
    """

    model: str
    command: str
    parameters: int
    settings: Mapping[str, Any]
    environment: Mapping[str, str]
    seconds: Mapping[str, float]
    curve: tuple[CurvePoint, ...]
    held_out_loss: Mapping[str, float]
    fixed_documents: Mapping[str, Any]
    pass_rate: Mapping[str, float]


def environment(device: torch.device) -> dict[str, str]:
    """Describe hardware and versions, as far as they decide what comes out."""
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "CPU"
    return {
        "hardware": hardware,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def write_record(folder: Path, record: TrainingRecord) -> None:
    """Write the JSON record, the picture of the curve, and the model card."""
    (folder / RECORD).write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")
    draw_curve(
        folder / PICTURE,
        record.curve,
        title=record.model,
        labels=("million tokens", "training loss (nats per token)"),
    )
    (folder / CARD).write_text(_card(record), encoding="utf-8")


def draw_curve(path: Path, curve: Sequence[CurvePoint], *, title: str, labels: tuple[str, str]) -> None:
    """Draw a training curve over millions of whatever its points count.

    Args:
        path: Picture to write.
        curve: The points.
        title: Name of the base.
        labels: Of the two axes.
    """
    figure, axes = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
    axes.plot([point.tokens / 1e6 for point in curve], [point.loss for point in curve])
    axes.set(xlabel=labels[0], ylabel=labels[1], title=title, yscale="log")
    axes.grid(visible=True, which="both", alpha=0.3)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def table(header: tuple[str, str], values: Mapping[str, float], form: str) -> str:
    """Return named numbers as a Markdown table of two columns, each written in `form`."""
    rows = "\n".join(f"| {name} | {value:{form}} |" for name, value in values.items())
    return f"| {header[0]} | {header[1]} |\n| --- | --- |\n{rows}"


def _card(record: TrainingRecord) -> str:
    last, where, words = record.curve[-1], record.environment, _TEXTS[record.model]
    total, budget = sum(record.seconds.values()), record.settings["training"]["tokens"]
    return f"""---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: {words.task}
---

# {record.model}

{words.kind} of {record.parameters / 1e6:.2f} million parameters for fine-tuning experiments that have to run on
two CPU cores. It is a test bed, not an assistant.

![Training loss]({PICTURE})

## How it was made

```
{record.command}
```

{last.tokens / 1e6:,.0f} million tokens in {last.step:,} steps at the curve's last point, of a budget of
{budget / 1e6:,.0f} million; {total:.0f} s in all, {last.seconds:.0f} s of them training steps, on
{where["hardware"]}, Python {where["python"]}, torch {where["torch"]}, transformers {where["transformers"]}.
All settings, the curve and the numbers below are in `{RECORD}`.

## Data

Two sources, nothing downloaded. About {record.settings["library_share"]:.0%} of the tokens are sources and docstrings
of the standard library of the Python that ran the recipe (Python Software Foundation License 2). The rest are
generated curricula (`benchmarks/pocket/curricula/`): {words.curricula}

{words.form}

## Held-out loss

{table(("source", "nats per token"), record.held_out_loss, ".4f")}

## Held-out items solved (greedy, exact equality)

{table(("curriculum", "share"), record.pass_rate, ".1%")}

## Limits

The model knows its curricula and little else: no facts about the world, no English beyond short sentences, no
safety training. The standard library's text is met many times over and partly memorised, as its held-out loss
shows. {words.limits} A rerun on other hardware gives a model of the same quality, not the same bits,
and the standard library's text changes with the Python version.

## Licence

Weights and tokenizer: Apache-2.0.
"""
