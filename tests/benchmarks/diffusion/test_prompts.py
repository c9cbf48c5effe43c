from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.diffusion.folder import load_base
from tests.tiny_pictures import save_tiny_text_to_image


def test_a_prompt_is_encoded_the_same_in_any_company(tmp_path: Path) -> None:
    _, encode = load_base(save_tiny_text_to_image(tmp_path), device=torch.device("cpu"))
    alone, both = encode(["a red moon"]), encode(["a blue star in flat style", "a red moon"])
    assert torch.allclose(both.text[1:], alone.text, atol=1e-6)
    assert torch.allclose(both.pooled[1:], alone.pooled, atol=1e-6)
    assert not torch.allclose(both.pooled[:1], alone.pooled, atol=1e-3)
    assert alone.numbers.tolist() == [[32, 32, 0, 0, 32, 32]]
    joined = alone.joined(both)
    assert torch.equal(joined.text, torch.cat([alone.text, both.text]))


def test_the_pooled_vector_hears_every_word(tmp_path: Path) -> None:
    _, encode = load_base(save_tiny_text_to_image(tmp_path), device=torch.device("cpu"))
    pooled = encode(["a red moon in flat style", "a red moon in neon style"]).pooled
    assert (pooled[0] - pooled[1]).abs().max() > 1e-3
