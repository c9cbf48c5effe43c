from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.encoding import IGNORED_LABEL
from benchmarks.packing import PackingError, keep_apart, pack, packed_batch
from tests.tiny import tiny_llama

I = IGNORED_LABEL  # noqa: E741
ROWS = [
    {"input_ids": [5, 6, 7, 8], "labels": [I, I, 7, 8]},
    {"input_ids": [9, 10, 11], "labels": [9, 10, 11]},
    {"input_ids": [12, 13], "labels": [I, 13]},
]


def test_packed_rows_are_the_examples_side_by_side() -> None:
    """By hand: the third example fits behind the first, and no example's first token is predicted."""
    assert pack(ROWS, length=6, pad_id=0) == [
        {
            "input_ids": [5, 6, 7, 8, 12, 13],
            "labels": [I, I, 7, 8, I, 13],
            "position_ids": [0, 1, 2, 3, 0, 1],
        },
        {
            "input_ids": [9, 10, 11, 0, 0, 0],
            "labels": [I, 10, 11, I, I, I],
            "position_ids": [0, 1, 2, 0, 1, 2],
        },
    ]


def test_all_tokens_are_kept_whatever_the_number_of_open_rows() -> None:
    rows = [{"input_ids": [n % 30 + 1] * (n % 7 + 1), "labels": [n % 30 + 1] * (n % 7 + 1)} for n in range(700)]
    packed = pack(rows, length=8, pad_id=0)
    assert all(len(row["input_ids"]) == 8 for row in packed)
    tokens = sorted(token for row in packed for token in row["input_ids"] if token)
    assert tokens == sorted(token for row in rows for token in row["input_ids"])
    assert len(packed) < 0.6 * len(rows)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_packed_example_has_the_logits_and_gradient_it_has_alone(attention: str) -> None:
    model = tiny_llama()
    model.set_attn_implementation(attention)
    batch = packed_batch(pack(ROWS, length=9, pad_id=0))
    assert batch["input_ids"].tolist()[0] == [5, 6, 7, 8, 9, 10, 11, 12, 13]
    assert "attention_mask" not in batch
    keep_apart(model, pack(ROWS, length=9, pad_id=0))
    packed = model(**batch)
    alone = [model(input_ids=torch.tensor([row["input_ids"]])).logits[0] for row in ROWS]
    torch.testing.assert_close(packed.logits[0], torch.cat(alone), rtol=1e-5, atol=1e-6)
    packed.loss.backward()
    found = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    losses = [
        torch.nn.functional.cross_entropy(
            model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1],
            torch.tensor(row["labels"][1:]),
            reduction="sum",
        )
        for row in ROWS
    ]
    (sum(losses) / 5).backward()  # five labels are predicted: 7, 8, 10, 11, 13
    for one, other in zip(found, [p.grad for p in model.parameters()], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_model_that_lets_examples_see_each_other_is_refused() -> None:
    packed = pack(ROWS, length=9, pad_id=0)
    model = tiny_llama()
    model.train()
    keep_apart(model, packed)
    assert model.training

    class Leaky(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = tiny_llama()

        def forward(self, input_ids: Any, position_ids: Any) -> Any:
            # An attention mask says: this is one text.
            mask = torch.ones_like(input_ids)
            return self.inner(input_ids=input_ids, position_ids=position_ids, attention_mask=mask)

    with pytest.raises(PackingError, match=r"--packing: Leaky lets examples of one row see each other"):
        keep_apart(Leaky(), packed)
    with pytest.raises(PackingError, match="Linear takes no position_ids"):
        keep_apart(torch.nn.Linear(1, 1), packed)
