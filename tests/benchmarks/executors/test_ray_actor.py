from __future__ import annotations

from pathlib import Path

from benchmarks.executors.ray_actor import unseen


def test_a_machine_says_which_folders_it_does_not_see(tmp_path: Path) -> None:
    token, model = tmp_path / ".shared", tmp_path / "model"
    assert unseen(token, "abc", [model]) == [str(tmp_path), str(model)]
    model.mkdir()
    token.write_text("of an earlier command")
    assert unseen(token, "abc", [model]) == [str(tmp_path)]
    token.write_text("abc")
    assert unseen(token, "abc", [model]) == []
