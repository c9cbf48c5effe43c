"""Compare training methods: tasks, models, the run store and the command lines."""

import logging

# On import, bitsandbytes remarks that an optional kernel is missing; nobody who runs a command here can act on it.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
