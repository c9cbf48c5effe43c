from __future__ import annotations

import pytest

from benchmarks import parsing


@pytest.mark.parametrize(
    ("reader", "raw", "expected"),
    [
        (parsing.integer(minimum=1), "3", 3),
        (parsing.integer(minimum=0), 0, 0),
        (parsing.number(minimum=0), "1e-3", 1e-3),
        (parsing.number(minimum=0), 2, 2.0),
        (parsing.names, "a, b", ("a", "b")),
        (parsing.names, ["a"], ("a",)),
        (parsing.switch, "false", False),
        (parsing.optional(parsing.integer(minimum=1)), "none", None),
        (
            parsing.method_options,
            "bilora.rho=1e-1,bilora.clip=none,sam.rank=2",
            {"bilora": {"rho": 0.1, "clip": "none"}, "sam": {"rank": 2}},
        ),
        (parsing.method_options, {"bilora": {"rho": 0.1}}, {"bilora": {"rho": 0.1}}),
    ],
)
def test_values_are_read(reader: parsing.Reader, raw: object, expected: object) -> None:
    assert reader(raw) == expected
    assert type(reader(raw)) is type(expected)


@pytest.mark.parametrize(
    ("reader", "raw"),
    [
        (parsing.integer(minimum=1), "0"),
        (parsing.integer(minimum=1), "1.5"),
        (parsing.integer(minimum=1), True),
        (parsing.integer(minimum=1), "[1"),
        (parsing.number(minimum=0), "-0.1"),
        (parsing.number(minimum=0), "nan"),
        (parsing.number(minimum=0), "inf"),
        (parsing.number(minimum=0, exclusive=True), 0),
        (parsing.number(minimum=0, maximum=1), 1.1),
        (parsing.names, ""),
        (parsing.names, "a,,b"),
        (parsing.names, "a,a"),
        (parsing.names, [1]),
        (parsing.names, []),
        (parsing.text, " "),
        (parsing.choice("a", "b"), "c"),
        (parsing.switch, "maybe"),
        (parsing.method_options, "rho=1"),
        (parsing.method_options, "bilora.rho"),
        (parsing.method_options, {"bilora": 1}),
    ],
)
def test_other_values_are_refused(reader: parsing.Reader, raw: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        reader(raw)
