from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.errors import UsageError
from benchmarks.harness.host import load_base
from benchmarks.harness.mt_bench import MtBench, judged, prompt_of, read_judgements, read_lines
from benchmarks.harness.spec import ScoreStore
from benchmarks.harness.subjects import Base
from benchmarks.scoring import generate
from benchmarks.written import write_json
from tests.models import byte_tokenizer, save_tiny_model

QUESTIONS = [
    {"question_id": 81, "category": "writing", "turns": ["Write.", "Again."]},
    {"question_id": 111, "category": "math", "turns": ["One and one?", "And two?"], "reference": ["2", "4"]},
]


def lines(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_answers_are_in_fastchats_format_and_follow_one_another(tmp_path: Path) -> None:
    bench = MtBench(lines(tmp_path / "q.jsonl", QUESTIONS), max_new_tokens=5)
    model, tokenizer = load_base(
        Base(source=str(save_tiny_model(tmp_path / "base"))), dtype="float32", device=torch.device("cpu")
    )
    shares: list[float] = []
    runs = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        found = bench.run(model, tokenizer, subject="own", folder=tmp_path / name, on_progress=shares.append)
        assert found == {"answers": 2, "prompts": "USER: ASSISTANT:"}
        runs.append(read_lines(tmp_path / name / "model_answer" / "own.jsonl", flag="", needed=("answer_id", "tstamp")))
    assert [a["question_id"] for a in runs[0]] == [81, 111]
    assert {a["model_id"] for a in runs[0]} == {"own"}
    # Sampled answers too are the same again.
    assert [a["choices"] for a in runs[0]] == [a["choices"] for a in runs[1]]
    assert shares[:2] == [0.5, 1.0]
    (choice,) = runs[0][1]["choices"]
    # Mathematics is answered greedily, and the second turn has the first answer before it.
    first, second = choice["turns"]
    prompt = "USER: One and one?\nASSISTANT:"
    (wanted,) = generate(model, tokenizer, [prompt], max_new_tokens=5, batch_size=1)
    assert first == wanted.strip()
    prompt = f"USER: One and one?\nASSISTANT: {first}\nUSER: And two?\nASSISTANT:"
    (wanted,) = generate(model, tokenizer, [prompt], max_new_tokens=5, batch_size=1)
    assert second == wanted.strip()


def test_a_chat_template_is_used_where_there_is_one() -> None:
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    tokenizer = byte_tokenizer()
    assert prompt_of(said, tokenizer) == ("USER: a\nASSISTANT: b\nUSER: c\nASSISTANT:", True)
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<say>{% endif %}"
    )
    assert prompt_of(said, tokenizer) == ("<user>a<assistant>b<user>c<say>", False)


def judgement(question: int, turn: int, score: float) -> dict[str, Any]:
    return {"question_id": question, "model": "own", "turn": turn, "score": score, "judge": ["gpt-4", "single-v1"]}


def test_mean_and_error_of_balanced_judgements_are_those_of_the_questions_means() -> None:
    scores = {1: (7, 4), 2: (10, 9), 3: (5, 6), 4: (1, 8)}
    found = judged([judgement(q, turn, s) for q, pair in scores.items() for turn, s in enumerate(pair, start=1)])
    means = [sum(pair) / 2 for pair in scores.values()]
    overall, first, second = found["metrics"]
    assert overall["value"] == pytest.approx(statistics.mean(means))
    assert overall["standard_error"] == pytest.approx(statistics.stdev(means) / 2)
    assert (first["metric"], first["value"]) == ("score_turn_1", pytest.approx(23 / 4))
    assert second["standard_error"] == pytest.approx(statistics.stdev([4, 9, 6, 8]) / 2)
    assert (found["examples"], found["judges"], found["without_score"]) == (4, ["gpt-4/single-v1"], 0)


def test_error_of_unequal_judgements_is_that_of_a_regression_on_a_constant() -> None:
    """The cluster-robust (CR1) sandwich of least squares on a constant, written with matrices."""
    rows = [(1, 7.0), (1, 4.0), (2, 10.0), (3, 5.0), (3, 6.0)]
    found = judged([judgement(q, 1 + i % 2, s) for i, (q, s) in enumerate(rows)] + [judgement(4, 1, -1)])
    x, y = np.ones((len(rows), 1)), np.array([score for _, score in rows])
    residual = y - y.mean()
    meat = np.zeros((1, 1))
    for question in (1, 2, 3):
        chosen = np.array([q == question for q, _ in rows])
        part = x[chosen].T @ residual[chosen]
        meat += np.outer(part, part)
    bread = np.linalg.inv(x.T @ x)
    variance = float((bread @ meat @ bread)[0, 0]) * 3 / 2
    assert found["metrics"][0]["value"] == pytest.approx(y.mean())
    assert found["metrics"][0]["standard_error"] == pytest.approx(variance**0.5)
    assert found["without_score"] == 1


def test_judgements_go_to_the_answers_that_they_are_about(tmp_path: Path) -> None:
    store = ScoreStore(tmp_path)
    with store.writing("mt-bench-own-1") as folder:
        spec = {"task": "mt-bench", "subject": "own", "model": "m"}
        write_json(folder / "score.json", {"key": "mt-bench-own-1", "spec": spec, "answers": 2})
    path = lines(tmp_path / "j.jsonl", [judgement(81, 1, 8), judgement(81, 2, 6), judgement(111, 1, 3)])
    assert read_judgements(path, store) == ["mt-bench-own-1"]
    metrics = store.record("mt-bench-own-1")["tasks"]["mt-bench"]["metrics"]
    assert metrics[0]["value"] == pytest.approx(17 / 3)
    table = store.write_table().read_text().splitlines()
    assert table[1].startswith("own,m,mt-bench,score,none,5.66")
    other = lines(tmp_path / "other.jsonl", [judgement(81, 1, 8) | {"model": "gpt-9"}])
    with pytest.raises(UsageError, match=r"judges 'gpt-9', whose answers are not in .* \(there: own\)"):
        read_judgements(other, store)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("{", "line 1 of .* is not JSON"),
        ('{"question_id": 1, "turns": []}\n[1]\n', "line 2 of .* has no question_id"),
        ('{"question_id": 1}', "has no turns; expected question_id, turns"),
        ('\n\n{"question_id": 1}', "line 3 of .* has no turns"),
        ('{"question_id": 1, "turns": "Write."}', "question 1 of .* has turns 'Write.'; expected a list of texts"),
        ('{"question_id": 1, "turns": []}', r"has turns \[\]; expected a list of texts"),
    ],
)
def test_files_of_another_kind_are_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text(content)
    with pytest.raises(UsageError, match=f"^--mt-bench: .*{message}"):
        MtBench(tmp_path / "q.jsonl")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("score", None, "score None; expected a number"),
        ("score", float("inf"), "score inf; expected a number"),
        ("turn", "1", "turn '1'; expected a number"),
        ("question_id", [1], r"question_id \[1\]; expected a number or a text"),
    ],
)
def test_a_judgement_of_another_kind_is_refused(tmp_path: Path, name: str, value: Any, message: str) -> None:
    entry = {"question_id": 1, "model": "own", "turn": 1, "score": 7.0, name: value}
    with pytest.raises(UsageError, match=f"--mt-bench-judgments: .* has a judgement with {message}"):
        read_judgements(lines(tmp_path / "j.jsonl", [entry]), ScoreStore(tmp_path))


def test_a_text_may_hold_what_separates_lines_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"question_id": 1, "turns": ["one\u2028two"]}\n', encoding="utf-8")
    assert read_lines(path, flag="", needed=())[0]["turns"] == ["one\u2028two"]


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--mt-bench: .* cannot be read"):
        MtBench(tmp_path / "none.jsonl")
