"""The model of the pages is the same every time, and its batches are scored in part."""

from __future__ import annotations

import torch

from docs.pages.small import make_batches, make_model


def test_every_model_has_the_same_weights_and_the_global_generator_stays() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second = make_model(), make_model()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_batches_differ_and_leave_the_first_tokens_out() -> None:
    batches = make_batches()
    assert len(batches) == 3
    assert not torch.equal(batches[0]["input_ids"], batches[1]["input_ids"])
    for batch in batches:
        assert (batch["labels"][:, :3] == -100).all()
        assert torch.equal(batch["labels"][:, 3:], batch["input_ids"][:, 3:])
