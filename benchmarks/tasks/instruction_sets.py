"""The instruction data of the Bi-LoRA paper for decoders: MetaMathQA, Code-Feedback, WizardLM, Cleaned Alpaca.

Recipes are the paper's. What is scored here is what can be scored without another benchmark: for MetaMathQA (Yu et al.,
ICLR 2024, arXiv 2309.12284) the exact match of the final answer, which every solution ends with; for the others the
inverse perplexity of the right response. GSM8K, HumanEval and the like are another command's.

Of the long sets the first 100,000 rows are taken, as in the paper. Validation and test rows are held out of them by
hash (a tenth, 500 at most), of MetaMathQA by the problem that a row is a variant of, where the column
`original_question` says it, so that no variant of a held-out problem is trained on.
"""

from __future__ import annotations

import re
from typing import ClassVar

from benchmarks.tasks.base import Example, Recipe, Split
from benchmarks.tasks.data_task import DataTask
from benchmarks.tasks.instruction import instruction_example
from benchmarks.tasks.sources import Row, Source

LIMIT = 100_000
_ANSWER = re.compile(r"The answer is:?\s*([^\n]+)")
_RECIPE = Recipe(
    batch_size=32,
    learning_rate=5e-4,
    max_new_tokens=512,
    epochs=2,
    micro_batch_size=4,
    max_length=1024,
    evaluation_batch_size=8,
)


class InstructionTask(DataTask):
    """Instructions and responses in columns of any name."""

    version: ClassVar[str] = "1"
    metric: ClassVar[str] = "inverse perplexity"
    by_likelihood: ClassVar[bool] = True
    recipe: ClassVar[Recipe] = _RECIPE
    #: The column of a context, where there is one; the two others are what the source names first and last.
    context: ClassVar[str | None] = None

    def example(self, row: Row) -> Example:
        """See `DataTask.example`."""
        instruction, response = self.source.columns[0], self.source.columns[-1]
        context = "" if self.context is None else self.text(row, self.context)
        return instruction_example(self.text(row, instruction), self.text(row, response), context=context)

    def score(self, example: Example, generated: str) -> float:
        """Return 1 if a text is the response to the letter; answers are scored by likelihood instead."""
        return float(generated.strip() == example.completion.strip())


def final_answer(text: str) -> str | None:
    """Return what stands behind the last "The answer is:", without signs that change nothing; None if it is nowhere."""
    found = _ANSWER.findall(text)
    return re.sub(r"[\s$,]", "", found[-1]).rstrip(".") if found else None


class MetaMathQA(InstructionTask):
    """Rewritten problems of GSM8K and MATH; exact match of the final answer."""

    name: ClassVar[str] = "metamathqa"
    metric: ClassVar[str] = "exact match"
    by_likelihood: ClassVar[bool] = False
    source: ClassVar[Source] = Source(hub="meta-math/MetaMathQA", columns=("query", "response"), limit=LIMIT)

    def recognised_by(self, row: Row) -> str:
        """See `DataTask.recognised_by`: the problem it is a variant of, where the row names it."""
        original = row.get("original_question")
        return original if isinstance(original, str) else super().recognised_by(row)

    def read(self) -> dict[Split, list[Row]]:
        """See `DataTask.read`: what is held out without a final answer cannot be scored and is left out."""
        found = super().read()
        for split in ("validation", "test"):
            found[split] = [row for row in found[split] if final_answer(self.text(row, "response")) is not None]
        return found

    def score(self, example: Example, generated: str) -> float:
        """Return 1 if the final answer is that of the reference, else 0."""
        wanted = final_answer(example.completion)
        return float(wanted is not None and final_answer(generated) == wanted)


class CodeFeedback(InstructionTask):
    """Programming questions with answers (Zheng et al., Findings of ACL 2024, arXiv 2402.14658)."""

    name: ClassVar[str] = "code-feedback"
    source: ClassVar[Source] = Source(
        hub="m-a-p/CodeFeedback-Filtered-Instruction", columns=("query", "answer"), limit=LIMIT
    )


class WizardLM(InstructionTask):
    """Evolved instructions (Xu et al., ICLR 2024, arXiv 2304.12244)."""

    name: ClassVar[str] = "wizardlm"
    source: ClassVar[Source] = Source(hub="WizardLMTeam/WizardLM_evol_instruct_70k", columns=("instruction", "output"))


class AlpacaCleaned(InstructionTask):
    """Alpaca's instructions, cleaned by others."""

    name: ClassVar[str] = "alpaca-cleaned"
    suggestion: ClassVar[str] = "meta-llama/Llama-3.1-8B"
    context: ClassVar[str | None] = "input"
    source: ClassVar[Source] = Source(hub="yahma/alpaca-cleaned", columns=("instruction", "input", "output"))
    recipe: ClassVar[Recipe] = Recipe(
        batch_size=128,
        learning_rate=3e-4,
        max_new_tokens=256,
        epochs=3,
        micro_batch_size=4,
        max_length=256,
        evaluation_batch_size=16,
    )


TASKS: tuple[type[InstructionTask], ...] = (MetaMathQA, CodeFeedback, WizardLM, AlpacaCleaned)
