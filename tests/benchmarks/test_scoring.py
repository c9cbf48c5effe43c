from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.loading import load_model
from benchmarks.scoring import generate, score_examples
from benchmarks.tasks import Example, Recipe, Task
from tests.models import save_tiny_model, save_tiny_t5


def test_batched_generation_equals_one_prompt_at_a_time_by_hand(tmp_path: Path) -> None:
    """Greedy decoding without cache, padding or batching is the oracle."""
    model, tokenizer = load_model(save_tiny_model(tmp_path), device=torch.device("cpu"))
    model.eval()
    prompts = ["a", "one and two", "bcd", "x" * 30]
    expected = []
    for prompt in prompts:
        ids = tokenizer(prompt)["input_ids"]
        start = len(ids)
        for _ in range(6):
            with torch.no_grad():
                ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == tokenizer.eos_token_id:
                break
        expected.append(tokenizer.decode(ids[start:], skip_special_tokens=True))
    seen: list[float] = []
    found = generate(model, tokenizer, prompts, max_new_tokens=6, batch_size=3, on_progress=seen.append)
    assert found == expected
    assert seen[-1] == 1.0


def test_an_encoder_decoder_answers_each_prompt_as_it_does_alone(tmp_path: Path) -> None:
    """The oracle decodes greedily from the start token, one prompt at a time, without cache or padding."""
    model, tokenizer = load_model(save_tiny_t5(tmp_path), device=torch.device("cpu"))
    model.eval()
    prompts = ["a", "one and two", "bcd", "x" * 30]
    expected = []
    for prompt in prompts:
        given = torch.tensor([tokenizer(prompt)["input_ids"]])
        answer = [model.config.decoder_start_token_id]
        for _ in range(6):
            with torch.no_grad():
                logits = model(input_ids=given, decoder_input_ids=torch.tensor([answer])).logits
            answer.append(int(logits[0, -1].argmax()))
            if answer[-1] == tokenizer.eos_token_id:
                break
        expected.append(tokenizer.decode(answer[1:], skip_special_tokens=True))
    assert len(set(expected)) > 1
    assert generate(model, tokenizer, prompts, max_new_tokens=6, batch_size=3) == expected


class _EndsLike(Task):
    name = "ends-like"
    version = "1"
    metric = "accuracy"
    recipe = Recipe(steps=1, batch_size=1, learning_rate=1.0, max_new_tokens=2)

    def examples(self, split: str) -> tuple[Example, ...]:
        return ()

    def score(self, example: Example, generated: str) -> float:
        return float(generated == example.completion)


def test_records_pair_examples_with_their_own_text_and_score(tmp_path: Path) -> None:
    model, tokenizer = load_model(save_tiny_model(tmp_path), device=torch.device("cpu"))
    model.eval()
    task = _EndsLike()
    right = generate(model, tokenizer, ["q"], max_new_tokens=2, batch_size=1)[0]
    examples = [Example(prompt="long prompt", completion="?"), Example(prompt="q", completion=right)]
    records = score_examples(model, tokenizer, task, examples)
    assert [(r.index, r.prompt, r.score) for r in records] == [(0, "long prompt", 0.0), (1, "q", 1.0)]
    assert records[1].generated == right
    assert [(r.reference, r.turn_scores) for r in records] == [("?", (0.0,)), (right, (1.0,))]


class _Asks(_EndsLike):
    """Asks once more, or twice where the prompt begins with `ab`; any answer to a second question is half right."""

    def follow_up(self, example: Example, answer: str) -> Example | None:
        asked = example.prompt.count("|")
        if asked >= (2 if example.prompt.startswith("ab") else 1):
            return None
        return Example(prompt=f"{example.prompt}{answer}|q{asked}", completion=f"r{asked}")

    def score(self, example: Example, generated: str) -> float:
        return 0.5 if example.prompt.count("|") == 1 else float(example.completion == "!")


def test_later_turns_are_asked_with_the_models_own_answers_in_the_prompt(tmp_path: Path) -> None:
    model, tokenizer = load_model(save_tiny_model(tmp_path), device=torch.device("cpu"))
    model.eval()

    def written(prompt: str) -> str:
        return generate(model, tokenizer, [prompt], max_new_tokens=2, batch_size=1)[0]

    seen: list[float] = []
    examples = [Example(prompt="ab", completion="!"), Example(prompt="c", completion="?")]
    records = score_examples(model, tokenizer, _Asks(), examples, on_progress=seen.append)
    expected = []
    for prompt, turns in (("ab", 3), ("c", 2)):
        dialogue = prompt
        for turn in range(turns):
            dialogue += written(dialogue) + (f"|q{turn}" if turn < turns - 1 else "")
        expected.append(dialogue.removeprefix(prompt))
    assert [r.generated for r in records] == expected
    assert [r.reference for r in records] == ["!|q0r0|q1r1", "?|q0r0"]
    assert [r.prompt for r in records] == ["ab", "c"]
    assert [r.turn_scores for r in records] == [(1.0, 0.5, 0.0), (0.0, 0.5)]
    assert [r.score for r in records] == [0.5, 0.25]
    assert seen == [pytest.approx(1 / 3), pytest.approx(2 / 3), 1.0]


def test_training_meets_every_turn_with_the_reference_answers_before_it() -> None:
    turns = _Asks().turns(Example(prompt="ab", completion="!"))
    assert [(turn.prompt, turn.completion) for turn in turns] == [("ab", "!"), ("ab!|q0", "r0"), ("ab!|q0r0|q1", "r1")]
    assert _EndsLike().turns(turns[0]) == turns[:1]


def test_no_examples_are_no_records(tmp_path: Path) -> None:
    model, tokenizer = load_model(save_tiny_model(tmp_path), device=torch.device("cpu"))
    assert score_examples(model, tokenizer, _Asks(), []) == []
