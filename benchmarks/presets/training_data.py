"""The data sets of the paper's experiments: where they are, and how many training examples they have.

The paper counts in epochs and a comparison in steps, so a preset needs the number of examples before any of them is
here. Steps count the published training split whole, also where a task holds some of it out for validation: an epoch
is then a little longer than one pass. Numbers are those of the hub's pages; GLUE and SuperGLUE as Wang et al. published
them (arXiv 1804.07461, 1905.00537).
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingData:
    """A data set.

    Attributes:
        hub: Its name on the Hugging Face hub, with its configuration after a slash where it has one.
        examples: Of the training split, or as many of them as the paper takes.
    """

    hub: str
    examples: int

    def steps(self, *, epochs: float, batch_size: int) -> int:
        """Return the optimizer steps of so many epochs; a last batch that is not full is one too."""
        return math.ceil(epochs * math.ceil(self.examples / batch_size))


#: The size of each published training set by the name of its task, so that plans need no data.
TRAINING_DATA: dict[str, TrainingData] = {
    "glue-mnli": TrainingData("nyu-mll/glue/mnli", 392_702),
    "glue-sst2": TrainingData("nyu-mll/glue/sst2", 67_349),
    "glue-cola": TrainingData("nyu-mll/glue/cola", 8_551),
    "glue-qnli": TrainingData("nyu-mll/glue/qnli", 104_743),
    "glue-mrpc": TrainingData("nyu-mll/glue/mrpc", 3_668),
    "superglue-boolq": TrainingData("aps/super_glue/boolq", 9_427),
    "superglue-cb": TrainingData("aps/super_glue/cb", 250),
    "superglue-copa": TrainingData("aps/super_glue/copa", 400),
    "superglue-rte": TrainingData("aps/super_glue/rte", 2_490),
    "superglue-wic": TrainingData("aps/super_glue/wic", 5_428),
    "metamathqa": TrainingData("meta-math/MetaMathQA", 100_000),
    "code-feedback": TrainingData("m-a-p/CodeFeedback-Filtered-Instruction", 100_000),
    "wizardlm": TrainingData("WizardLMTeam/WizardLM_evol_instruct_70k", 70_000),
    "alpaca-cleaned": TrainingData("yahma/alpaca-cleaned", 51_760),
    "dreambooth-3d-icons": TrainingData("linoyts/3d_icon", 23),
}
