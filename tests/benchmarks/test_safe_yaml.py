from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.safe_yaml import LARGEST, UnsafeYaml, load_yaml, read_yaml


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: &a [x]\nb: [*a, *a]\n", "alias"),
        ("[" * 50 + "]" * 50, "nested more than"),
        ("x" * (LARGEST + 1), "expected at most"),
        ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("day: 2001-99-99", "month must be in"),
        ("n: " + "1" * 5000, "digits"),
        ("? [a]\n: 1", "unhashable"),
        ("a: [", "expected the node content"),
    ],
)
def test_what_is_not_read_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(UnsafeYaml, match=why) as caught:
        load_yaml(text)
    assert "\n" not in str(caught.value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=12,
    )
)
def test_plain_data_is_read_as_the_safe_loader_reads_it(value: object) -> None:
    text = yaml.dump(value, Dumper=_WithoutAliases)
    assert load_yaml(text) == yaml.safe_load(text)


class _WithoutAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(UnsafeYaml):
        load_yaml(text)


def test_a_file_that_is_too_large_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate(2**40)  # a terabyte that takes no room
    with pytest.raises(UnsafeYaml, match="more than"):
        read_yaml(path)
    path.write_bytes(b"\xff")
    with pytest.raises(UnsafeYaml, match="decode"):
        read_yaml(path)
