"""The four kinds of input that somebody else may have written; `benchmarks.reliability.target` says what each does."""

from __future__ import annotations

from benchmarks.reliability.adapter_target import AdapterTarget
from benchmarks.reliability.file_targets import ConfigTarget, PublishedTarget
from benchmarks.reliability.store_target import StoreTarget
from benchmarks.reliability.target import Target

TARGETS: tuple[type[Target], ...] = (ConfigTarget, StoreTarget, AdapterTarget, PublishedTarget)
