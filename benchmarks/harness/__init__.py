"""Scores adapters with the lm-evaluation-harness, see `benchmarks.score`."""
