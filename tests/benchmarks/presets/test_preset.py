from __future__ import annotations

from typing import Any

import pytest

from benchmarks.errors import UsageError
from benchmarks.presets.preset import make_preset, preset_record

ROWS = {"table": "A2", "model": "T5-base", "task": "cola", "run": "glue-cola", "measured": "score"}


def test_parts_stand_on_the_settings_of_all() -> None:
    parts = {"a": {"settings": {"rank": 4}, "names": {"bilora": "bilora(r=4)"}}, "b": {}}
    preset = make_preset(
        "p", {"settings": {"rank": 8, "score": ["gsm8k"], "schedule": "constant", "epochs": 3}, "parts": parts}
    )
    assert [
        (part.name, part.values["rank"], part.values["score"], part.values["schedule"]) for part in preset.parts
    ] == [
        ("a", 4, ("gsm8k",), "constant"),
        ("b", 8, ("gsm8k",), "constant"),
    ]
    assert preset.parts[0].names == {"bilora": "bilora(r=4)"}
    assert [case.epochs for case in preset.parts[1].cases] == [3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"settings": {"rnk": 8}}, "unknown setting 'rnk' in preset p, did you mean 'rank'?"),
        ({"settings": {"rank": 0}}, "--rank: found 0 in preset p; expected a whole number of at least 1"),
        ({"settings": {"epochs": -1}}, "epochs -1 in preset p; expected a number above 0"),
        ({"cases": [{"tasks": ["a"], "rank": 4}]}, "a case in preset p sets 'rank'"),
        ({"cases": [{"seeds": "many"}]}, "--seeds: found 'many' in preset p"),
        ({"published": [ROWS | {"measured": "luck"}]}, "'luck' is measured in preset p; expected one of score"),
        (
            {"published": [ROWS | {"run": "glue-kola"}]},
            "unknown task 'glue-kola' in preset p, did you mean 'glue-cola'?",
        ),
        ({"published": [ROWS | {"tabel": "1"}]}, "expected table, model, task, run, measured, metric"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(content: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        make_preset("p", content)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_record_for_reports_says_what_differs_and_what_is_our_choice() -> None:
    content = {
        "source": ["Table A2"],
        "cases": [{"methods": ["full-ft"], "learning_rate": 1e-4}],
        "published": [ROWS],
        "our_choice": {"dtype": "float32; the paper names none"},
    }
    preset = make_preset("p", content)
    record = preset_record(preset, preset.parts[0])
    assert (record["name"], record["part"]) == ("p", "")
    assert record["published"] == [{**ROWS, "metric": None}]
    assert "full-ft: learning_rate 0.0001" in record["sentence"]
    assert "dtype: float32; the paper names none" in record["sentence"]
