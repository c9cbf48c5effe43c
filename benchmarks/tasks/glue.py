"""GLUE and SuperGLUE as the Bi-LoRA paper has them: five tasks of each, text to text for T5, or for a classifier.

Prompts and answers are T5's own (Raffel et al., JMLR 2020, arXiv 1910.10683, appendix D): the task's name, then every
column under its name in alphabetical order, so that T5 meets what it was pretrained with. WiC's part of speech, which
T5 read too, is not a column of the hub's version. Decoders get the same prompt. Classifiers read the columns alone, as
one text or two.

The hub hides the labels of the test splits; the validation split is therefore scored, as usual, and what training is
watched on is held out of the training split by hash (a tenth, 500 at most). GLUE: Wang et al., ICLR 2019, arXiv
1804.07461; SuperGLUE: Wang et al., NeurIPS 2019, arXiv 1905.00537.
"""

from __future__ import annotations

from typing import ClassVar

from benchmarks.errors import UsageError
from benchmarks.tasks.base import Example, Recipe
from benchmarks.tasks.data_task import DataTask
from benchmarks.tasks.sources import Row, Source


class JudgedTask(DataTask):
    """A judgement with a few answers; accuracy unless the field has another metric."""

    version: ClassVar[str] = "1"
    metric: ClassVar[str] = "accuracy"
    suggestion: ClassVar[str] = "google-t5/t5-base"
    #: What a classifier reads; columns of one text are joined by a space.
    parts: ClassVar[tuple[tuple[str, ...], ...]]

    def example(self, row: Row) -> Example:
        """See `DataTask.example`."""
        label = row["label"]
        if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < len(self.labels):
            raise UsageError(
                f"--data: {self.name}: column 'label' holds {label!r}; expected an integer from 0 to "
                f"{len(self.labels) - 1} ({', '.join(self.labels)})"
            )
        named = " ".join(f"{name}: {self.text(row, name)}" for name in self.source.columns if name != "label")
        texts = tuple(" ".join(self.text(row, name) for name in part) for part in self.parts)
        prompt = f"{self.source.config} {named}"
        return Example(prompt=prompt, completion=self.labels[label], texts=texts)

    def score(self, example: Example, generated: str) -> float:
        """Return 1 if the generated text is the right answer and nothing else, else 0."""
        return float(generated.strip() == example.completion)


def _recipe(epochs: int) -> Recipe:
    return Recipe(batch_size=32, learning_rate=5e-4, max_new_tokens=8, epochs=epochs, max_length=256)


def _glue(config: str, *columns: str, test: str = "validation") -> Source:
    return Source(hub="nyu-mll/glue", config=config, splits=("train", test), columns=(*columns, "label"))


def _superglue(config: str, *columns: str) -> Source:
    return Source(hub="aps/super_glue", config=config, splits=("train", "validation"), columns=(*columns, "label"))


class GlueMnli(JudgedTask):
    """Does a premise entail a hypothesis? Scored on the matched validation split."""

    name: ClassVar[str] = "glue-mnli"
    source: ClassVar[Source] = _glue("mnli", "hypothesis", "premise", test="validation_matched")
    parts: ClassVar[tuple[tuple[str, ...], ...]] = (("premise",), ("hypothesis",))
    labels: ClassVar[tuple[str, ...]] = ("entailment", "neutral", "contradiction")
    recipe: ClassVar[Recipe] = _recipe(3)


class GlueSst2(JudgedTask):
    """Is a sentence of a film review positive?"""

    name: ClassVar[str] = "glue-sst2"
    source: ClassVar[Source] = _glue("sst2", "sentence")
    parts: ClassVar[tuple[tuple[str, ...], ...]] = (("sentence",),)
    labels: ClassVar[tuple[str, ...]] = ("negative", "positive")
    recipe: ClassVar[Recipe] = _recipe(3)


class GlueCola(JudgedTask):
    """Is a sentence grammatical? Matthews correlation."""

    name: ClassVar[str] = "glue-cola"
    metric: ClassVar[str] = "Matthews correlation"
    source: ClassVar[Source] = _glue("cola", "sentence")
    parts: ClassVar[tuple[tuple[str, ...], ...]] = (("sentence",),)
    labels: ClassVar[tuple[str, ...]] = ("unacceptable", "acceptable")
    recipe: ClassVar[Recipe] = _recipe(10)


class GlueQnli(JudgedTask):
    """Does a sentence answer a question?"""

    name: ClassVar[str] = "glue-qnli"
    source: ClassVar[Source] = _glue("qnli", "question", "sentence")
    parts: ClassVar[tuple[tuple[str, ...], ...]] = (("question",), ("sentence",))
    labels: ClassVar[tuple[str, ...]] = ("entailment", "not_entailment")
    recipe: ClassVar[Recipe] = _recipe(3)


class GlueMrpc(JudgedTask):
    """Do two sentences say the same?"""

    name: ClassVar[str] = "glue-mrpc"
    source: ClassVar[Source] = _glue("mrpc", "sentence1", "sentence2")
    parts: ClassVar[tuple[tuple[str, ...], ...]] = (("sentence1",), ("sentence2",))
    labels: ClassVar[tuple[str, ...]] = ("not_equivalent", "equivalent")
    recipe: ClassVar[Recipe] = _recipe(10)


class SuperGlueBoolQ(JudgedTask):
    """Is the answer to a question about a passage yes?"""

    name: ClassVar[str] = "superglue-boolq"
    source: ClassVar[Source] = _superglue("boolq", "passage", "question")
    parts: ClassVar[tuple[tuple[str, ...], ...]] = (("question",), ("passage",))
    labels: ClassVar[tuple[str, ...]] = ("False", "True")
    recipe: ClassVar[Recipe] = _recipe(10)


class SuperGlueCb(JudgedTask):
    """Does a speaker commit to an embedded clause?"""

    name: ClassVar[str] = "superglue-cb"
    source: ClassVar[Source] = _superglue("cb", "hypothesis", "premise")
    parts: ClassVar[tuple[tuple[str, ...], ...]] = (("premise",), ("hypothesis",))
    labels: ClassVar[tuple[str, ...]] = ("entailment", "contradiction", "neutral")
    recipe: ClassVar[Recipe] = _recipe(50)


class SuperGlueCopa(JudgedTask):
    """Which of two sentences is the cause or effect of a third?"""

    name: ClassVar[str] = "superglue-copa"
    source: ClassVar[Source] = _superglue("copa", "choice1", "choice2", "premise", "question")
    parts: ClassVar[tuple[tuple[str, ...], ...]] = (("premise", "question"), ("choice1", "choice2"))
    labels: ClassVar[tuple[str, ...]] = ("choice1", "choice2")
    recipe: ClassVar[Recipe] = _recipe(50)


class SuperGlueRte(JudgedTask):
    """Does a premise entail a hypothesis?"""

    name: ClassVar[str] = "superglue-rte"
    source: ClassVar[Source] = _superglue("rte", "hypothesis", "premise")
    parts: ClassVar[tuple[tuple[str, ...], ...]] = (("premise",), ("hypothesis",))
    labels: ClassVar[tuple[str, ...]] = ("entailment", "not_entailment")
    recipe: ClassVar[Recipe] = _recipe(10)


class SuperGlueWic(JudgedTask):
    """Has a word the same sense in two sentences?"""

    name: ClassVar[str] = "superglue-wic"
    source: ClassVar[Source] = _superglue("wic", "sentence1", "sentence2", "word")
    parts: ClassVar[tuple[tuple[str, ...], ...]] = (("word", "sentence1"), ("sentence2",))
    labels: ClassVar[tuple[str, ...]] = ("False", "True")
    recipe: ClassVar[Recipe] = _recipe(10)


TASKS: tuple[type[JudgedTask], ...] = (
    *(GlueMnli, GlueSst2, GlueCola, GlueQnli, GlueMrpc),
    *(SuperGlueBoolQ, SuperGlueCb, SuperGlueCopa, SuperGlueRte, SuperGlueWic),
)
