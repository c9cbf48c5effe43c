"""A parser of command lines that answers in one line."""

from __future__ import annotations

import argparse
from typing import NoReturn

from benchmarks.errors import UsageError


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose complaints are ours to word."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would have printed with the usage and ended the process for."""
        raise UsageError(message)
