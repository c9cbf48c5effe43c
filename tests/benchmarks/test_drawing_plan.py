from __future__ import annotations

import json

import pytest

from benchmarks.drawing_plan import drawing_seconds, drawing_sentences
from benchmarks.estimates import RESULTS
from benchmarks.settings import CompareSettings


def test_a_picture_takes_what_was_measured_scaled_by_steps_and_area() -> None:
    found = json.loads((RESULTS / "sdxl-dreambooth-h200.json").read_text())
    replayed = found["drawing"][0]
    whole = drawing_seconds("sdxl-unet", side=1024, steps=25)
    assert whole == pytest.approx(replayed["seconds"] + replayed["decode_seconds"])
    assert whole is not None
    half = drawing_seconds("sdxl-unet", side=512, steps=50)
    assert half == pytest.approx((2 * replayed["seconds"] + replayed["decode_seconds"]) / 4)
    assert drawing_seconds("llama-3.1-8b", side=1024, steps=25) is None


def test_a_model_that_was_not_measured_has_its_pictures_counted() -> None:
    settings = CompareSettings(tasks=("dreambooth-3d-icons", "pocket-math"), model="my/sdxl")
    (sentence,) = drawing_sentences(settings)
    assert "draws 12 pictures on top; how long this model takes for one was not measured" in sentence
    assert drawing_sentences(CompareSettings()) == ()
