from __future__ import annotations

import numpy as np
import pytest

from benchmarks.pocket.pictures.scene import ICON, draw
from benchmarks.pocket.pictures.words import vocabulary
from benchmarks.tasks import SPLITS, create_task
from benchmarks.tasks.base import Split
from benchmarks.tasks.pocket_icons import SIZES_OF, PictureExample, PocketIcons

TASK = create_task("pocket-icons")
assert isinstance(TASK, PocketIcons)


def scenes(split: Split) -> list[PictureExample]:
    return [example for example in TASK.examples(split) if isinstance(example, PictureExample)]


def test_things_of_the_splits_are_apart_and_all_in_the_one_style() -> None:
    subjects = {split: {example.scene.subject for example in scenes(split)} for split in SPLITS}
    assert not subjects["train"] & (subjects["validation"] | subjects["test"])
    assert not subjects["validation"] & subjects["test"]
    assert {example.scene.style for split in SPLITS for example in scenes(split)} == {ICON}
    assert {split: len(scenes(split)) for split in SPLITS} == SIZES_OF
    assert len(scenes("train")) == 23


def test_prompts_say_what_is_drawn_in_words_that_the_base_knows() -> None:
    for split in SPLITS:
        for example in scenes(split):
            scene = example.scene
            for word in (scene.subject, scene.colour, scene.size, scene.place, "sks"):
                assert word in example.prompt
            assert set(example.prompt.split()) <= set(vocabulary())
            assert example.completion == f"{scene.subject}, icon"


def test_the_drawn_reference_pictures_are_judged_right() -> None:
    examples = TASK.examples("test")
    records = TASK.judged(examples, TASK.pictures(examples))
    assert sum(record.score for record in records) >= 0.95 * len(records)
    assert records[3].picture is not None
    assert np.array_equal(records[3].picture, draw(scenes("test")[3].scene))


def test_a_picture_is_worth_what_is_right_in_both_parts() -> None:
    examples = TASK.examples("test")[:2]
    other = scenes("validation")[0]
    from dataclasses import replace

    pictures = np.stack([draw(other.scene), draw(replace(scenes("test")[1].scene, style="flat"))])
    thing, style = TASK.judged(examples, pictures)
    assert (thing.score, thing.parts) == (0.0, {"thing": 0.0, "style": 1.0})
    assert (style.score, style.parts) == (0.0, {"thing": 1.0, "style": 0.0})
    assert thing.generated == other.completion
    assert TASK.score(examples[0], examples[0].completion) == 1.0


def test_the_fingerprint_follows_the_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    before = TASK.fingerprint()
    assert before == PocketIcons().fingerprint()
    monkeypatch.setattr("benchmarks.tasks.pocket_icons.draw", lambda scene: draw(scene) ^ 1)
    assert TASK.fingerprint() != before
