from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from analysis import DirectionError, parameter_space
from analysis.landscape import filter_normalised_direction, load_directions, save_directions


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "directions.safetensors"


def test_directions_come_back_for_another_model_in_their_order(tiny_lora, path) -> None:
    space = parameter_space(tiny_lora(), "full")
    directions = {f"random-{i}": filter_normalised_direction(space, seed=0, index=i) for i in (1, 0)}
    save_directions(path, space, directions)
    other = parameter_space(tiny_lora(dtype=torch.float32), "full")
    found = load_directions(path, other)
    assert list(found) == ["random-1", "random-0"]
    for name, blocks in found.items():
        for block, expected in zip(blocks, directions[name], strict=True):
            assert block.dtype == torch.float32
            torch.testing.assert_close(block, expected.float(), rtol=0.0, atol=0.0)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_files_of_other_spaces_layers_and_shapes_are_refused(tiny_lora, path) -> None:
    model = tiny_lora()
    space = parameter_space(model, "full")
    save_directions(path, space, {"random": filter_normalised_direction(space, seed=0, index=0)})
    with pytest.raises(DirectionError, match="of the full space, not of the tangent space"):
        load_directions(path, parameter_space(model, "tangent"))
    with pytest.raises(DirectionError, match=r"3 blocks, this model's 2; it has '.*q_proj' where .*'.*v_proj'"):
        load_directions(path, parameter_space(tiny_lora(targets=("v_proj", "down_proj")), "full"))
    lora = parameter_space(model, "lora")
    save_directions(path, lora, {"random": filter_normalised_direction(lora, seed=0, index=0)})
    with pytest.raises(DirectionError, match=r"has shape \(2, 8\), but \(3, 8\)"):
        load_directions(path, parameter_space(tiny_lora(rank=3), "lora"))


def test_what_is_no_file_of_directions_is_refused(tiny_lora, path) -> None:
    space = parameter_space(tiny_lora(), "full")
    with pytest.raises(DirectionError, match="there is no file"):
        load_directions(path, space)
    save_file({"w": torch.ones(2)}, path)
    with pytest.raises(DirectionError, match="is no file of directions"):
        load_directions(path, space)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(DirectionError, match="is no file of directions"):
        load_directions(path, space)
    with pytest.raises(DirectionError, match="no directions to save"):
        save_directions(path, space, {})
    with pytest.raises(DirectionError, match="'odd' does not have the blocks"):
        save_directions(path, space, {"odd": [torch.ones(2)]})
