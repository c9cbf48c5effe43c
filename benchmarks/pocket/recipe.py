"""The recipe of the pocket bases: tokenizer, corpus, training, evaluation, one folder with everything in it.

The corpus is generated in worker processes while the model trains on the shards that are ready. What is evaluated
is what is saved: weights rounded to bf16 and read back, since that is what a user will load.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from benchmarks.pocket.bases import BASES, Base
from benchmarks.pocket.card import TrainingRecord, environment, write_record
from benchmarks.pocket.corpus import LIBRARY, Rows, ShardRequest
from benchmarks.pocket.evaluation import pass_rates
from benchmarks.pocket.tokenizer import as_pretrained, train_tokenizer
from benchmarks.pocket.training import CurvePoint, TrainingSettings, train

#: Held-out curricula documents whose loss a test recomputes; few, so that it takes a second.
FIXED_DOCUMENTS = 8


def device_of(wanted: str | None) -> torch.device:
    """Return the device to train on: the one asked for, or cuda where there is one.

    Raises:
        ValueError: If it is not there.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise ValueError("--device: found cuda, but torch sees no CUDA device here; use --device cpu")
    return torch.device(wanted or ("cuda" if available else "cpu"))


def shards(options: argparse.Namespace, tokenizer_file: Path) -> Iterator[Rows]:
    """Build the corpus in worker processes; yields the shards in order, each as soon as it is ready."""
    requests = [
        ShardRequest(shard=shard, tokens=options.shard_tokens, seed=options.seed, tokenizer_file=str(tokenizer_file))
        for shard in range(max(1, options.corpus_tokens // options.shard_tokens))
    ]
    build_shard = BASES[options.model].build_shard
    if options.workers == 1:
        yield from map(build_shard, requests)
        return
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # Spawned, because a forked child must not inherit a CUDA context.
    with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(build_shard, requests)


def report_point(point: CurvePoint) -> None:
    """Print a point of the training curve."""
    print(
        f"step {point.step:6d}  {point.tokens / 1e6:8.1f} M tokens  {point.seconds:6.1f} s  "
        f"{point.tokens / max(point.seconds, 1e-9) / 1e6:5.2f} M/s  loss {point.loss:.4f}",
        flush=True,
    )


def _settings(options: argparse.Namespace) -> TrainingSettings:
    return TrainingSettings(
        tokens=options.tokens,
        minutes=options.minutes,
        batch_rows=options.batch_rows,
        learning_rate=options.learning_rate,
        seed=options.seed,
        compile=options.compile,
        cuda_graphs=options.cuda_graphs,
        relative=BASES[options.model].relative_rates,
        weight_decay=BASES[options.model].weight_decay,
    )


def _save(out: Path, base: Base, model: Any, tokenizer: PreTrainedTokenizerFast) -> Any:
    """Save in bf16 and read back what a user will load, in fp32."""
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    device = next(model.parameters()).device
    return base.model_class.from_pretrained(out, dtype=torch.float32, local_files_only=True).to(device).eval()


def pretrain(options: argparse.Namespace, command: str) -> TrainingRecord:
    """Run the recipe and write the model folder.

    Args:
        options: The parsed and checked command line.
        command: The command line as typed, for the model card.

    Returns:
        What was measured, as written beside the weights.

    Raises:
        ValueError: If the device is not there, or training cannot go on.
    """
    base = BASES[options.model]
    shape, characters, documents = base.shape, 12_000_000, 256
    if options.smoke:
        shape, characters, documents = base.smoke_shape, 60_000, FIXED_DOCUMENTS
        small = {"tokens": 40_000, "corpus_tokens": 20_000, "shard_tokens": 10_000, "batch_rows": 8, "workers": 1}
        options = argparse.Namespace(**{**vars(options), **small})
    device = device_of(options.device)
    seconds, clock = {}, time.monotonic()
    tokenizer = as_pretrained(
        train_tokenizer(
            vocabulary=shape.vocabulary,
            characters=characters,
            seed=options.seed,
            shares=base.shares,
            sentinels=base.sentinels,
        )
    )
    seconds["tokenizer"], clock = time.monotonic() - clock, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        torch.manual_seed(options.seed)
        model = base.build(replace(shape, vocabulary=len(tokenizer))).to(device)
        corpus = shards(options, Path(folder) / "tokenizer.json")
        curve = train(model, corpus, _settings(options), report=report_point, loss=base.loss, count=base.count)
    seconds["training"], clock = time.monotonic() - clock, time.monotonic()
    saved = _save(options.out, base, model, tokenizer)
    losses = base.held_out_losses(saved, tokenizer, list(base.shares), documents=documents, seed=options.seed)
    fixed = base.held_out_losses(saved, tokenizer, list(base.curricula), documents=FIXED_DOCUMENTS, seed=options.seed)
    rates = pass_rates(saved, tokenizer, items=documents, seed=options.seed, curricula=base.curricula)
    seconds["evaluation"] = time.monotonic() - clock
    record = TrainingRecord(
        model=options.model,
        command=command,
        parameters=sum(parameter.numel() for parameter in saved.parameters()),
        settings={
            "shape": asdict(shape),
            "training": asdict(_settings(options)),
            "corpus_tokens": options.corpus_tokens,
            "library_share": base.shares[LIBRARY],
        },
        environment=environment(device),
        seconds=seconds,
        curve=tuple(curve),
        held_out_loss=losses,
        fixed_documents={"documents": FIXED_DOCUMENTS, "seed": options.seed, "loss": fixed},
        pass_rate=rates,
    )
    write_record(options.out, record)
    return record
