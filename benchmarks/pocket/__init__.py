"""Small pretrained bases that ship with the project, and the recipe that makes them (`pretrain`)."""

from __future__ import annotations

from pathlib import Path

POCKET_MODELS = Path(__file__).parent / "models"

__all__ = ["POCKET_MODELS"]
