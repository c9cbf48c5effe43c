"""Reports from stored runs: statistics, tables, figures and pages; `reports.render` is the command and the call."""

from __future__ import annotations

from reports.fields import RunStoreError
from reports.runs import Run
from reports.store import Store, load_store

__all__ = ["Run", "RunStoreError", "Store", "load_store"]
