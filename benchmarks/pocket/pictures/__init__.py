"""Pictures drawn from a few words, with the same bits on every machine: the corpus of `pocket-sdxl` and its task."""
