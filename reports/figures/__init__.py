"""Figures of a comparison: one module for each, all drawn without a display and saved to the same bytes each time."""

from __future__ import annotations

from reports.figures.canvas import Drawing
from reports.figures.gallery import draw_summary, draw_task

__all__ = ["Drawing", "draw_summary", "draw_task"]
