"""The command `python -m benchmarks.reliability`: kills sweeps, feeds damaged files, and times what safety costs."""
