"""The recipe of `pocket-sdxl`: pictures drawn while the model trains on them, its judge, and what both can do.

Text encoder and UNet are trained together, from nothing, on the loss of `benchmarks.diffusion`. The base never meets
the style of its task: only the judge does. What is evaluated is what is saved, weights rounded to bf16 and read back.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.diffusion.folder import load_base, save_base
from benchmarks.diffusion.noise import STEPS
from benchmarks.diffusion.pixels import to_places
from benchmarks.diffusion.sampling import sample_pictures
from benchmarks.pocket.card import environment
from benchmarks.pocket.corpus import Rows
from benchmarks.pocket.judge import Judge, accuracies, build_judged_shard, load_judge, save_judge, train_judge, verdicts
from benchmarks.pocket.pictures.rows import (
    CHANNELS,
    HELD_OUT,
    NUMBERS,
    PIXELS,
    PictureShard,
    build_picture_shard,
    described,
)
from benchmarks.pocket.pictures.scene import SIDE
from benchmarks.pocket.pictures.words import build_tokenizer
from benchmarks.pocket.recipe import device_of, report_point
from benchmarks.pocket.sdxl_architecture import POCKET_SDXL, SMOKE_SDXL, build_text_encoder, build_unet
from benchmarks.pocket.sdxl_card import SHEET, SdxlRecord, write_record, write_sheet
from benchmarks.pocket.training import TrainingSettings, train

JUDGE = "judge"
#: Sampling of the evaluation, and of the task.
SAMPLING_STEPS, GUIDANCE = 10, 2.0
_JUDGED_SHARD, _JUDGE_SEED, _JUDGE_HELD_OUT = 2_000, 1_000, 999_999


class TextToImage(nn.Module):
    """Text encoder and UNet, trained as one."""

    def __init__(self, encoder: Any, unet: Any) -> None:
        super().__init__()
        self.encoder, self.unet = encoder, unet

    def forward(self, rows: Tensor) -> Tensor:
        """Return the denoising loss of rows of `build_picture_shard`, with noise and steps drawn anew."""
        pixels = rows[:, :PIXELS].reshape(-1, CHANNELS, SIDE, SIDE)
        prompts = self.encoder(rows[:, PIXELS:-NUMBERS])
        clean = to_places(pixels)
        noise, steps = torch.randn_like(clean), torch.randint(0, STEPS, (len(rows),), device=rows.device)
        loss: Tensor = self.unet(
            clean, noise, steps, prompts.last_hidden_state, prompts.text_embeds, rows[:, -NUMBERS:].float()
        ).loss
        return loss


def _loss(model: TextToImage, rows: Tensor) -> Tensor:
    loss: Tensor = model(rows)
    return loss


def _settings(options: argparse.Namespace) -> TrainingSettings:
    return TrainingSettings(
        tokens=options.tokens,
        minutes=options.minutes,
        batch_rows=options.batch_rows,
        learning_rate=options.learning_rate,
        weight_decay=0.01,
        seed=options.seed,
        compile=options.compile,
        cuda_graphs=options.cuda_graphs,
    )


@contextmanager
def _workers(count: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """Yield a `map` over worker processes, or the plain one."""
    if count == 1:
        yield map
        return
    # Spawned, because a forked child must not inherit a CUDA context.
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool.map


def _train_judge(options: argparse.Namespace, device: torch.device, mapped: Callable[..., Iterator[Any]]) -> Judge:
    shards = 2 if options.smoke else 60
    requests = [(_JUDGE_SEED + index, 100 if options.smoke else _JUDGED_SHARD) for index in range(shards)]
    rows = np.concatenate(list(mapped(build_judged_shard, requests)))
    judge = train_judge(
        rows,
        device=device,
        steps=10 if options.smoke else 3_000,
        batch_size=32 if options.smoke else 256,
        seed=options.seed,
        report=lambda step, loss: print(f"judge step {step:5d}  loss {loss:.4f}", flush=True),
    )
    held_out = build_judged_shard((_JUDGE_HELD_OUT, 100 if options.smoke else 4_000))
    save_judge(options.out / JUDGE, judge, {"pictures": len(rows), "held_out": len(held_out)})
    saved = load_judge(options.out / JUDGE, device=device)
    found = accuracies(saved, held_out)
    save_judge(options.out / JUDGE, judge, {"pictures": len(rows), "held_out": len(held_out), "accuracy": found})
    print("judge: " + ", ".join(f"{name} {share:.2%}" for name, share in found.items()), flush=True)
    return saved


def _sampled(folder: Path, judge: Judge, *, device: torch.device, count: int, seed: int) -> dict[str, float]:
    """Sample held-out captions that name thing and style; return the shares that the judge finds right."""
    unet, encode = load_base(folder, device=device)
    drawn = described(PictureShard(shard=0, count=4 * count, seed=seed, stream=HELD_OUT))
    asked = [(scene, words) for scene, words in drawn if scene.style in words.split()][:count]
    pictures = sample_pictures(
        unet,
        encode,
        [words for _, words in asked],
        list(range(len(asked))),
        count=SAMPLING_STEPS,
        guidance=GUIDANCE,
        batch_size=256,
    )
    write_sheet(folder, pictures[:SHEET])
    named = verdicts(judge, pictures)
    subject = [scene.subject == s for (scene, _), (s, _) in zip(asked, named, strict=True)]
    style = [scene.style == t for (scene, _), (_, t) in zip(asked, named, strict=True)]
    return {
        "subject": float(np.mean(subject)),
        "style": float(np.mean(style)),
        "both": float(np.mean([a and b for a, b in zip(subject, style, strict=True)])),
    }


def held_out_loss(folder: Path, *, device: torch.device, pictures: int, seed: int) -> float:
    """Return the denoising loss of held-out pictures, with noise of a generator of its own and evenly spread steps."""
    unet, encode = load_base(folder, device=device)
    rows = build_picture_shard(PictureShard(shard=1, count=pictures, seed=seed, stream=HELD_OUT))
    generator = torch.Generator().manual_seed(seed)
    clean = to_places(torch.from_numpy(rows[:, :PIXELS].astype(np.float32)).reshape(-1, CHANNELS, SIDE, SIDE))
    noise, steps = torch.randn(clean.shape, generator=generator), (torch.arange(pictures) * STEPS) // pictures
    with torch.inference_mode():
        tokens = torch.from_numpy(rows[:, PIXELS:-NUMBERS].astype(np.int64)).to(device)
        prompts = encode.encoder(tokens)
        numbers = torch.from_numpy(rows[:, -NUMBERS:].astype(np.float32))
        inputs = (value.to(device) for value in (clean, noise, steps))
        return float(unet(*inputs, prompts.last_hidden_state, prompts.text_embeds, numbers.to(device)).loss)


def _requests(options: argparse.Namespace) -> list[PictureShard]:
    size = min(options.shard_tokens, options.corpus_tokens)
    return [PictureShard(shard=shard, count=size, seed=options.seed) for shard in range(options.corpus_tokens // size)]


def pretrain(options: argparse.Namespace, command: str) -> SdxlRecord:
    """Run the recipe and write the model folder.

    Args:
        options: The parsed and checked command line; `tokens` are pictures.
        command: The command line as typed, for the model card.

    Returns:
        What was measured, as written beside the weights.

    Raises:
        ValueError: If the device is not there, or training cannot go on.
    """
    shape, samples, held_out = POCKET_SDXL, 1024, 1024
    if options.smoke:
        shape, samples, held_out = SMOKE_SDXL, 8, 16
        small = {"tokens": 400, "corpus_tokens": 200, "shard_tokens": 100, "batch_rows": 8, "workers": 1}
        options = argparse.Namespace(**{**vars(options), **small})
    device = device_of(options.device)
    torch.backends.cudnn.benchmark = True
    seconds: dict[str, float] = {}
    with _workers(options.workers) as mapped:
        clock = time.monotonic()
        judge = _train_judge(options, device, mapped)
        seconds["judge"], clock = time.monotonic() - clock, time.monotonic()
        torch.manual_seed(options.seed)
        model = TextToImage(build_text_encoder(shape), build_unet(shape)).to(device)
        shards: Iterator[Rows] = mapped(build_picture_shard, _requests(options))
        curve = train(model, shards, _settings(options), report=report_point, loss=_loss, count=len)
        seconds["training"], clock = time.monotonic() - clock, time.monotonic()
    model.to(torch.bfloat16)
    save_base(options.out, model.unet, model.encoder, build_tokenizer())
    rates = _sampled(options.out, judge, device=device, count=samples, seed=options.seed)
    loss = held_out_loss(options.out, device=device, pictures=held_out, seed=options.seed)
    seconds["evaluation"] = time.monotonic() - clock
    counted = {"unet": model.unet, "text_encoder": model.encoder, "judge": judge}
    record = SdxlRecord(
        model=options.model,
        command=command,
        parameters={name: sum(p.numel() for p in part.parameters()) for name, part in counted.items()},
        settings={
            "shape": asdict(shape),
            "training": asdict(_settings(options)),
            "corpus_pictures": options.corpus_tokens,
            "sampling": {"steps": SAMPLING_STEPS, "guidance": GUIDANCE, "captions": samples},
        },
        environment=environment(device),
        seconds=seconds,
        curve=tuple(curve),
        held_out={"pictures": held_out, "seed": options.seed, "loss": loss},
        pass_rate=rates,
    )
    write_record(options.out, record)
    return record
