"""MT-Bench (Zheng et al., NeurIPS 2023) in FastChat's formats: writes answers and reads judgements.

The judge is the user's. Questions are FastChat's `question.jsonl`: `question_id`, `category`, `turns`. Every later turn
is asked with the model's own answers before it. Temperatures go by category, and the generator is seeded anew for each
question, both as in FastChat; prompts go through the tokenizer's chat template, or, where it has none, read
"USER: ... ASSISTANT:", near to Vicuna's. Judgements are those of FastChat's single-answer grading: `model`,
`question_id`, `turn`, `score`, where -1 means that the judge gave none. The mean is over all judged turns, as FastChat
prints it; its standard error is clustered by question, since two turns of one dialogue are not independent.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.encoding import encode_prompt
from benchmarks.errors import UsageError, shortened
from benchmarks.harness.spec import JUDGEMENTS, ScoreStore
from benchmarks.written import write_json

NAME = "mt-bench"
MAX_NEW_TOKENS = 1024
#: FastChat's `temperature_config`; a category that is not there has 0.7.
TEMPERATURES = {
    "writing": 0.7, "roleplay": 0.7, "extraction": 0.0, "math": 0.0, "coding": 0.0, "reasoning": 0.0, "stem": 0.1,
    "humanities": 0.1,
}  # fmt: skip
_OTHER_TEMPERATURE = 0.7
_SEED = 0


class MtBench:
    """The answers to a file of questions.

    Args:
        questions: FastChat's `question.jsonl`.
        limit: Only the first questions; None takes all.
        max_new_tokens: Where an answer is cut off.

    Raises:
        UsageError: The file is not there or holds something else.
    """

    def __init__(self, questions: Path, *, limit: int | None = None, max_new_tokens: int = MAX_NEW_TOKENS) -> None:
        self.name = NAME
        self.harness = "FastChat's format"
        self.limit = limit
        self.num_fewshot: int | None = None
        # Its use depends on the tokenizer alone, see `prompt_of`.
        self.chat_template = False
        self._max_new_tokens = max_new_tokens
        found = read_lines(questions, flag="--mt-bench", needed=("question_id", "turns"))
        for question in found:
            turns = question["turns"]
            if not isinstance(turns, list) or not turns or not all(isinstance(turn, str) for turn in turns):
                raise UsageError(
                    f"--mt-bench: question {shortened(question['question_id'])} of {questions} has turns "
                    f"{shortened(turns)}; expected a list of texts"
                )
        self._questions = found[:limit]
        content = hashlib.sha256(questions.read_bytes()).hexdigest()[:16]
        self.identity = f"{NAME} {content} {max_new_tokens} tokens"

    def prepare(self) -> None:
        """Nothing is needed beside the questions."""

    def run(
        self, model: Any, tokenizer: Any, *, subject: str, folder: Path, on_progress: Callable[[float], None]
    ) -> dict[str, Any]:
        """Write FOLDER/model_answer/SUBJECT.jsonl."""
        answers = []
        for done, question in enumerate(self._questions):
            torch.manual_seed(_SEED)
            turns = self._answer(model, tokenizer, question)
            answers.append(
                {
                    "question_id": question["question_id"],
                    "answer_id": uuid.uuid4().hex,
                    "model_id": subject,
                    "choices": [{"index": 0, "turns": turns}],
                    "tstamp": time.time(),
                }
            )
            on_progress((done + 1) / len(self._questions))
        path = folder / "model_answer" / f"{subject}.jsonl"
        path.parent.mkdir()
        path.write_text("".join(json.dumps(answer) + "\n" for answer in answers), encoding="utf-8")
        return {"answers": len(answers), "prompts": "chat template" if tokenizer.chat_template else "USER: ASSISTANT:"}

    def _answer(self, model: Any, tokenizer: Any, question: Mapping[str, Any]) -> list[str]:
        temperature = TEMPERATURES.get(str(question.get("category")), _OTHER_TEMPERATURE)
        reads_apart = bool(model.config.is_encoder_decoder)
        said: list[dict[str, str]] = []
        for turn in question["turns"]:
            said.append({"role": "user", "content": str(turn)})
            prompt, special = prompt_of(said, tokenizer)
            tokens = (
                encode_prompt(prompt, tokenizer, encoder_decoder=reads_apart)
                if special
                else tokenizer(prompt, add_special_tokens=False)["input_ids"]
            )
            sampling: dict[str, Any] = {"do_sample": False}
            if temperature > 0:
                sampling = {"do_sample": True, "temperature": temperature}
            with torch.inference_mode():
                output = model.generate(
                    input_ids=torch.tensor([tokens], device=model.device),
                    attention_mask=torch.ones(1, len(tokens), dtype=torch.long, device=model.device),
                    max_new_tokens=self._max_new_tokens,
                    pad_token_id=tokenizer.pad_token_id,
                    **sampling,
                )
            written = output[0, 0 if reads_apart else len(tokens) :]
            said.append({"role": "assistant", "content": tokenizer.decode(written, skip_special_tokens=True).strip()})
        return [entry["content"] for entry in said if entry["role"] == "assistant"]


def prompt_of(said: Sequence[Mapping[str, str]], tokenizer: Any) -> tuple[str, bool]:
    """Return a dialogue as a prompt for the next answer, and whether the tokenizer has still to add its start token."""
    if tokenizer.chat_template:
        text = tokenizer.apply_chat_template(list(said), tokenize=False, add_generation_prompt=True)
        return str(text), False
    spoken = [f"{'USER' if entry['role'] == 'user' else 'ASSISTANT'}: {entry['content']}" for entry in said]
    return "\n".join([*spoken, "ASSISTANT:"]), True


def read_lines(path: Path, *, flag: str, needed: Sequence[str]) -> list[dict[str, Any]]:
    """Return the records of a JSON-lines file.

    Raises:
        UsageError: It cannot be read, a line is no JSON object, or lacks a field.
    """
    try:
        # Unlike `splitlines`, which would also cut at separators that a JSON text may hold.
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{flag}: {path} cannot be read: {error}; expected a file of FastChat's") from None
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{flag}: line {number} of {path} is not JSON: {error}") from None
        missing = [name for name in needed if not isinstance(record, dict) or name not in record]
        if missing:
            raise UsageError(f"{flag}: line {number} of {path} has no {missing[0]}; expected {', '.join(needed)}")
        records.append(record)
    if not records:
        raise UsageError(f"{flag}: {path} is empty; expected one JSON object a line")
    return records


def judged(judgements: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return mean and standard error of the judgements of one model, over all turns and by turn, as score records.

    With n scores x in Q questions the clustered error is sqrt(Q/(Q-1) sum_q (sum_{x in q} (x - mean))^2) / n, which
    for questions of equally many turns is the standard error of the mean of the questions' means.
    """
    scored = [entry for entry in judgements if float(entry["score"]) >= 0]
    turns = sorted({int(entry["turn"]) for entry in scored})
    metrics = [_clustered("score", scored)]
    metrics += [_clustered(f"score_turn_{turn}", [e for e in scored if int(e["turn"]) == turn]) for turn in turns]
    return {
        "metrics": metrics,
        "examples": len({entry["question_id"] for entry in scored}),
        "num_fewshot": None,
        "version": None,
        "hash": None,
        "subtasks": [],
        "without_score": len(judgements) - len(scored),
        "judges": sorted({_judge(entry) for entry in judgements}),
    }


def _judge(entry: Mapping[str, Any]) -> str:
    judge = entry.get("judge", "unnamed")
    return "/".join(map(str, judge)) if isinstance(judge, list) else str(judge)


def _clustered(metric: str, scored: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    values = [float(entry["score"]) for entry in scored]
    mean = sum(values) / len(values) if values else None
    error = None
    sums: dict[Any, float] = defaultdict(float)
    if mean is not None:
        for entry, value in zip(scored, values, strict=True):
            sums[entry["question_id"]] += value - mean
        count = len(sums)
        if count > 1:
            error = math.sqrt(count / (count - 1) * sum(total**2 for total in sums.values())) / len(values)
    return {"metric": metric, "filter": "none", "value": mean, "standard_error": error}


def _check_judgement(entry: Mapping[str, Any], path: Path) -> None:
    good = {
        "question_id": isinstance(entry["question_id"], int | str),
        "turn": isinstance(entry["turn"], int),
        "score": isinstance(entry["score"], int | float) and math.isfinite(entry["score"]),
    }
    wrong = next((name for name, holds in good.items() if not holds), None)
    if wrong is not None:
        raise UsageError(
            f"--mt-bench-judgments: {path} has a judgement with {wrong} {shortened(entry[wrong])}; expected "
            f"{'a number or a text' if wrong == 'question_id' else 'a number'}"
        )


def read_judgements(path: Path, store: ScoreStore) -> list[str]:
    """Read judgements into the records of the answers they are about; returns the keys of those.

    Raises:
        UsageError: The file is at fault, or names a model whose answers are not in the store.
    """
    found = read_lines(path, flag="--mt-bench-judgments", needed=("question_id", "model", "score", "turn"))
    by_model: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in found:
        _check_judgement(entry, path)
        by_model[str(entry["model"])].append(entry)
    answered: dict[str, list[str]] = defaultdict(list)
    for key in store.finished():
        spec = store.record(key)["spec"]
        if spec["task"] == NAME:
            answered[spec["subject"]].append(key)
    unknown = [model for model in by_model if model not in answered]
    if unknown:
        known = ", ".join(answered) or "none"
        raise UsageError(
            f"--mt-bench-judgments: {path} judges {unknown[0]!r}, whose answers are not in {store.folder} "
            f"(there: {known})"
        )
    keys = []
    for model, entries in by_model.items():
        for key in answered[model]:
            write_json(store.items / key / JUDGEMENTS, judged(entries))
            keys.append(key)
    return keys
