"""The command `python -m analysis.measure`: flatness of a model folder or of any PEFT checkpoint."""

import logging

# On import, bitsandbytes remarks that an optional kernel is missing; nobody who runs the command can act on it.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
