"""The experiments of the Bi-LoRA paper as settings of a comparison, by name."""

from benchmarks.presets.catalogue import canonical_names, find_preset, sources
from benchmarks.presets.preset import MEASURED, Part, Preset, PublishedRows, preset_record
from benchmarks.presets.training_data import TRAINING_DATA, TrainingData

__all__ = [
    "MEASURED",
    "TRAINING_DATA",
    "Part",
    "Preset",
    "PublishedRows",
    "TrainingData",
    "canonical_names",
    "find_preset",
    "preset_record",
    "sources",
]
