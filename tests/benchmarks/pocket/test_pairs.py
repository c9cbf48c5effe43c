from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from benchmarks.pocket.architecture import T5Shape, build_t5
from benchmarks.pocket.corpus import BOS, EOS, PAD, T5_SOURCE_SHARES, ShardRequest
from benchmarks.pocket.curricula import T5_CURRICULA, draw
from benchmarks.pocket.evaluation import held_out_pair_losses
from benchmarks.pocket.packed_pairs import pair_loss, pair_tokens
from benchmarks.pocket.pairs import (
    INPUT_TOKENS,
    SENTINELS,
    TARGET_TOKENS,
    Pair,
    build_pair_shard,
    encode_pairs,
    pack_pairs,
)
from benchmarks.pocket.tokenizer import as_pretrained, train_tokenizer

TINY = T5Shape(vocabulary=64, hidden=32, intermediate=48, layers=2, head=16)


@pytest.fixture(autouse=True)
def _small_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The true library takes seconds to read; what is tested here is the mixing."""

    def texts(index: int, *, seed: int, held_out: bool) -> str:
        return f"def function_{index}():\n    return {seed}, {held_out}\n"

    monkeypatch.setattr("benchmarks.pocket.corpus.library_document", texts)


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    english = dict.fromkeys(("sentences", "wording", "reading", "repairs"), 0.25)
    tokenizer = train_tokenizer(vocabulary=700, characters=40_000, seed=0, shares=english, sentinels=len(SENTINELS))
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def random_pairs(count: int, *, longest: int = 40) -> list[Pair]:
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, longest, size=(count, 2))
    return [tuple([*rng.integers(35, 64, size=size).tolist(), EOS] for size in row) for row in sizes]  # type: ignore[misc]


def unpacked(part: list[int]) -> list[list[int]]:
    ends = [place + 1 for place, token in enumerate(part) if token == EOS]
    return [part[start:end] for start, end in pairwise([0, *ends])]


def test_packing_keeps_every_pair_whole_and_in_one_row() -> None:
    pairs = random_pairs(300)
    rows = pack_pairs(pairs)
    assert rows.shape[1] == INPUT_TOKENS + TARGET_TOKENS
    found: list[Pair] = []
    for row in rows.tolist():
        given, target = unpacked(row[:INPUT_TOKENS]), unpacked(row[INPUT_TOKENS:])
        found += list(zip(given, target, strict=True))
    assert sorted(found) == sorted(pairs)
    assert pair_tokens(rows) == sum(len(given) + len(target) for given, target in pairs)


def test_a_packed_row_has_the_loss_of_its_pairs_one_by_one() -> None:
    """The oracle is transformers' own forward pass, a pair at a time without mask or padding."""
    torch.manual_seed(0)
    model = build_t5(TINY).double().eval()
    pairs = random_pairs(40)
    rows = torch.from_numpy(pack_pairs(pairs).astype(np.int64))
    total, counted = 0.0, 0
    with torch.no_grad():
        for given, target in pairs:
            loss = model(input_ids=torch.tensor([given]), labels=torch.tensor([target])).loss
            total, counted = total + loss.item() * len(target), counted + len(target)
        packed = pair_loss(model, rows)
    assert packed.item() == pytest.approx(total / counted, rel=1e-5)


def test_a_row_without_padding_and_one_pair_alone_are_no_exceptions() -> None:
    torch.manual_seed(0)
    model = build_t5(TINY).double().eval()
    full = ([*[40] * (INPUT_TOKENS - 1), EOS], [*[41] * (TARGET_TOKENS - 9), EOS])
    rows = torch.from_numpy(pack_pairs([full]).astype(np.int64))
    with torch.no_grad():
        plain = model(input_ids=torch.tensor([full[0]]), labels=torch.tensor([full[1]])).loss
        assert pair_loss(model, rows).item() == pytest.approx(plain.item(), rel=1e-5)
    pair_loss(model, rows).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_a_shard_depends_on_its_number_and_the_seed_alone(tokenizer_file: Path) -> None:
    def shard(number: int, *, seed: int = 0) -> np.ndarray:
        return build_pair_shard(
            ShardRequest(shard=number, tokens=20_000, seed=seed, tokenizer_file=str(tokenizer_file))
        )

    third = shard(3)
    assert (shard(3) == third).all()
    assert not np.array_equal(shard(4), third)
    assert not np.array_equal(shard(3, seed=1), third)
    assert np.count_nonzero(third) == pytest.approx(20_000, rel=0.05)


def test_items_are_inputs_with_targets_and_texts_are_corrupted(tokenizer_file: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    for name in ("reading", "sentences"):
        for index, (given, target) in enumerate(encode_pairs(name, 0, 60, tokenizer, seed=0)):
            assert (given[-1], target[-1]) == (EOS, EOS)
            item = draw(name, T5_CURRICULA[name], index)
            corrupted = [token for token in given if token in SENTINELS]
            if item.prompt:
                assert not corrupted
                assert [tokenizer.decode(part[:-1]) for part in (given, target)] == [item.prompt, item.completion]
            else:
                assert corrupted
                assert corrupted == [token for token in target if token in SENTINELS][:-1]


def test_an_encoder_decoders_tokenizer_ends_what_it_reads(tokenizer_file: Path) -> None:
    tokenizer = as_pretrained(Tokenizer.from_file(str(tokenizer_file)))
    plain = tokenizer("The boy", add_special_tokens=False)["input_ids"]
    assert tokenizer("The boy")["input_ids"] == [*plain, EOS]
    assert tokenizer.convert_tokens_to_ids(["<pad>", "<bos>", "<eos>"]) == [PAD, BOS, EOS]
    assert tokenizer.convert_tokens_to_ids(["<extra_id_0>", "<extra_id_31>"]) == [SENTINELS[0], SENTINELS[-1]]
    assert tokenizer.decode([BOS, SENTINELS[0], *plain, EOS], skip_special_tokens=True) == "The boy"


def test_held_out_losses_are_those_of_held_out_pairs(tokenizer_file: Path) -> None:
    tokenizer = as_pretrained(Tokenizer.from_file(str(tokenizer_file)))
    torch.manual_seed(0)
    model = build_t5(T5Shape(vocabulary=len(tokenizer), hidden=32, intermediate=48, layers=1, head=16)).eval()
    found = held_out_pair_losses(model, tokenizer, ["repairs"], documents=6)
    total, counted = 0.0, 0
    for index in range(6):
        item = draw("repairs", T5_CURRICULA["repairs"], index, held_out=True)
        labels = [*tokenizer(item.completion, add_special_tokens=False)["input_ids"], EOS]
        given = tokenizer(item.prompt, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            total += model(input_ids=given, labels=torch.tensor([labels])).loss.item() * len(labels)
        counted += len(labels)
    assert found == {"repairs": pytest.approx(total / counted, rel=1e-4)}


def test_shares_of_the_encoder_decoders_corpus_add_up() -> None:
    assert sum(T5_SOURCE_SHARES.values()) == pytest.approx(1.0)
    assert all(share > 0 for share in T5_SOURCE_SHARES.values())


def test_the_shape_that_ships_fits_in_sixteen_megabytes() -> None:
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in build_t5(T5Shape()).parameters())
    assert 2 * parameters < 16 * 10**6


def test_a_width_that_no_head_divides_is_refused() -> None:
    with pytest.raises(ValueError, match="found 40, expected a multiple of the head width 16"):
        build_t5(T5Shape(hidden=40, head=16))
