"""The command `python -m analysis.measure`: flatness of a model folder or of any PEFT checkpoint."""
