from __future__ import annotations

import json
import random
from pathlib import Path

from benchmarks.reliability.damage import damaged_bytes, damaged_file, damaged_tree, is_small_file, json_text

TREE = {"a": [1, 2, {"b": "c"}], "d": {"e": None}, "f": 0.5}


def test_damage_is_a_function_of_the_draw_and_leaves_the_original_alone() -> None:
    before = json.dumps(TREE)
    found = [json_text(damaged_tree(TREE, random.Random(seed), times=2)) for seed in range(200)]
    assert json.dumps(TREE) == before
    assert found == [json_text(damaged_tree(TREE, random.Random(seed), times=2)) for seed in range(200)]
    assert len(set(found)) > 100
    assert before not in found[:1]


def test_bytes_are_cut_changed_or_replaced() -> None:
    content = bytes(range(200))
    found = [damaged_bytes(content, random.Random(seed)) for seed in range(300)]
    assert any(content.startswith(entry) and len(entry) < 200 for entry in found)
    assert any(len(entry) > 200 for entry in found)
    assert any(len(entry) == 200 and entry != content for entry in found)


def test_a_name_becomes_a_folder_a_link_a_large_file_or_nothing(tmp_path: Path) -> None:
    kinds = set()
    for seed in range(200):
        path = tmp_path / "file"
        path.write_text("content")
        damaged_file(path, random.Random(seed), outside=tmp_path)
        if path.is_symlink():
            kinds.add("link")
        elif path.is_dir():
            kinds.add("folder")
        elif not path.exists():
            kinds.add("nothing")
        else:
            kinds.add("small" if is_small_file(path) else "large")
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
    assert kinds == {"link", "folder", "nothing", "small", "large"}


def test_a_link_is_no_small_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert is_small_file(tmp_path / "file")
    assert not is_small_file(tmp_path / "link")
