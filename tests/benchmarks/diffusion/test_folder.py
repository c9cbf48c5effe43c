from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.diffusion.folder import load_base
from tests.tiny_pictures import save_tiny_text_to_image, tiny_unet


def test_what_was_saved_is_loaded_in_fp32(tmp_path: Path) -> None:
    unet, encode = load_base(save_tiny_text_to_image(tmp_path), device=torch.device("cpu"))
    assert {p.dtype for p in unet.parameters()} == {torch.float32}
    assert all(torch.equal(a, b) for a, b in zip(unet.parameters(), tiny_unet().parameters(), strict=True))
    assert not unet.training
    assert encode.side == 32


def test_a_missing_part_is_an_error(tmp_path: Path) -> None:
    folder = save_tiny_text_to_image(tmp_path)
    (folder / "text_encoder" / "model.safetensors").unlink()
    with pytest.raises(OSError, match=r"model\.safetensors"):
        load_base(folder, device=torch.device("cpu"))
