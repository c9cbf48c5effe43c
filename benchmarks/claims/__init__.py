"""The claim board: what the Bi-LoRA paper (arXiv 2508.19564) claims, and what was measured here."""
