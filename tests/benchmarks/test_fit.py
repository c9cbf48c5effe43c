from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.errors import UsageError
from benchmarks.plan import plan_runs
from benchmarks.settings import CompareSettings
from tests.models import save_tiny_model, save_tiny_t5
from tests.real_data import pairs, save_classifier, write_cola, write_lines
from tests.tiny_pictures import save_tiny_text_to_image
from tests.tiny_sdxl import save_clip, save_pictures, save_sdxl

SETTINGS = CompareSettings(device="cpu", methods=("lora",))


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Any]:
    save_tiny_model(tmp_path / "llama")
    save_tiny_t5(tmp_path / "t5")
    save_classifier(tmp_path / "bert")
    write_cola(tmp_path / "cola")
    write_lines(tmp_path / "own.jsonl", pairs(20))
    return {name: str(tmp_path / name) for name in ("llama", "t5", "bert")} | {
        "cola": tmp_path / "cola",
        "own": f"jsonl:{tmp_path / 'own.jsonl'}",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": "bert", "tasks": "own"},
            "is a classifier, and jsonl-own asks for a text; choose a task with labels",
        ),
        (
            {"model": None, "tasks": "own"},
            "--model: jsonl-own has no base that ships; name a folder or a model on the hub",
        ),
        ({"packing": True}, "--packing: .* add --steps"),
        ({"packing": True, "steps": 2, "model": "t5"}, "--packing: is for decoders, and .*t5 is an encoder-decoder"),
        ({"target_modules": ("q_prj",)}, "'q_prj' is no linear layer of llama, did you mean 'q_proj'.; it has q_proj,"),
        ({"data": Path("x"), "tasks": "pocket-math"}, "--data: none of --tasks pocket-math reads published data"),
        ({"dtype": "float16", "methods": ("full-ft",), "baseline": "full-ft"}, "--dtype: full-ft trains the weights"),
        ({"attention": "flash_attention_2"}, "--attention: flash_attention_2 needs the package flash-attn"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_loaded(
    places: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    chosen = {"model": "llama", "tasks": "own", **changes}
    chosen["model"] = places.get(chosen["model"])
    chosen["tasks"] = (places.get(chosen["tasks"], chosen["tasks"]),)
    with pytest.raises(UsageError, match=message) as error:
        plan_runs(replace(SETTINGS, **chosen))
    assert "\n" not in str(error.value)


def test_a_model_that_cannot_be_built_is_refused_before_anything_is_loaded(places: dict[str, Any]) -> None:
    path = Path(places["llama"]) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"hidden_size": -16}))
    with pytest.raises(UsageError, match=r"--model: .*llama cannot be built from its configuration: ") as error:
        plan_runs(replace(SETTINGS, model=places["llama"], tasks=(places["own"],), target_modules=("q_proj",)))
    assert "\n" not in str(error.value)


def test_a_tokenizer_of_another_model_is_refused(places: dict[str, Any]) -> None:
    config = Path(places["llama"]) / "config.json"
    content = json.loads(config.read_text())
    config.write_text(json.dumps({**content, "vocab_size": content["vocab_size"] - 1}))
    message = rf"holds a tokenizer of another model: its token '.+' has the number {content['vocab_size'] - 1}, and"
    with pytest.raises(UsageError, match=message):
        plan_runs(replace(SETTINGS, model=places["llama"], tasks=(places["own"],)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "add --dtype bfloat16"),
        ({"dtype": "bfloat16"}, "no second derivatives, which curvature needs; add --measure false"),
    ],
)
def test_flash_attention_wants_16_bits_and_no_curvature(
    changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.fit.find_spec", lambda name: object())
    with pytest.raises(UsageError, match=message):
        plan_runs(replace(SETTINGS, attention="flash_attention_2", **changes))


def test_what_is_said_of_a_language_model_is_refused_for_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.fit.medium_of", lambda folder: "picture")
    monkeypatch.setattr("benchmarks.tasks.pocket_math.PocketMath.medium", "picture")
    with pytest.raises(UsageError, match="--dtype: is for language models, and pocket-llama is a text-to-image model"):
        plan_runs(replace(SETTINGS, dtype="bfloat16"))


def test_names_of_adapted_modules_are_looked_up_in_a_unet(tmp_path: Path) -> None:
    folder = str(save_tiny_text_to_image(tmp_path / "sdxl"))
    pictures = replace(SETTINGS, tasks=("pocket-icons",), model=folder)
    assert plan_runs(replace(pictures, target_modules=("to_q", "to_out.0")))[0][0].target_modules == "to_q,to_out.0"
    with pytest.raises(UsageError, match="--target-modules: 'q_proj' is no linear layer of sdxl"):
        plan_runs(replace(pictures, target_modules=("q_proj",)))


def test_a_chat_template_is_refused_for_pictures(tmp_path: Path) -> None:
    folder = str(save_tiny_text_to_image(tmp_path / "sdxl"))
    with pytest.raises(UsageError, match="--chat-template: is for language models"):
        plan_runs(replace(SETTINGS, tasks=("pocket-icons",), model=folder, chat_template="none"))


def test_a_published_recipe_is_the_default_and_follows_the_batch(places: dict[str, Any]) -> None:
    """CoLA: 10 epochs of the 22 rows that are not held out, batch 32; a recipe's micro-batch divides what is given."""
    chosen = replace(SETTINGS, tasks=("glue-cola",), data=places["cola"], model=places["t5"])
    spec = plan_runs(chosen)[0][0]
    assert (spec.steps, spec.batch_size, spec.learning_rate, spec.max_length) == (7, 32, 5e-4, 256)
    assert spec.data == str(places["cola"])
    spec = plan_runs(replace(chosen, batch_size=4))[0][0]
    assert (spec.steps, spec.micro_batch_size) == (55, 4)
    own = replace(SETTINGS, tasks=(places["own"],), model=places["llama"], batch_size=6)
    spec = plan_runs(own)[0][0]
    assert (spec.micro_batch_size, spec.max_length, spec.evaluation_batch_size) == (3, 1024, 8)


def test_other_data_under_the_same_name_make_another_run(places: dict[str, Any]) -> None:
    chosen = replace(SETTINGS, tasks=("glue-cola",), data=places["cola"], model=places["t5"], steps=1)
    before = plan_runs(chosen)[0][0]
    other = write_cola(places["cola"].parent / "other", train=23)
    assert plan_runs(replace(chosen, data=other))[0][0].key != before.key
    same = write_cola(places["cola"].parent / "same")
    assert plan_runs(replace(chosen, data=same))[0][0].key == before.key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"resolution": 17},
            "--resolution: found 17; the autoencoder of .* makes one latent of 2 pixels, .* such as 16",
        ),
        ({"max_length": 64}, "--max-length: is for language models, and .* is a text-to-image model"),
        ({"attention": "eager"}, "--attention: is for language models"),
        ({"dtype": "auto"}, "--dtype: auto takes the type .* expected float32, bfloat16 or float16"),
        ({"caption_model": "blip"}, "--caption-model: captions are compared by CLIP; add --clip-model"),
        ({"target_modules": ("to_qq",)}, "'to_qq' is no linear layer of sdxl, did you mean 'to_q'"),
        ({"quantize": "nf4"}, "--quantize nf4 is made for language models"),
        ({"tasks": ("pocket-icons",)}, "pocket-icons draws its pictures for pocket-sdxl, and .* is an SDXL"),
        ({"tasks": ("pocket-math",), "data": None}, "answers with a picture, and pocket-math asks for a text"),
        ({"model": "pocket-sdxl"}, "pocket-sdxl has no autoencoder, .* name an SDXL model, such as stabilityai"),
        ({"model": "pocket-llama"}, "pocket-llama answers with a text, .* name one such as stabilityai"),
        ({"model": None}, "--model: dreambooth-3d-icons has no base that ships; .* such as stabilityai/stable-diff"),
    ],
)
def test_what_does_not_fit_an_sdxl_is_said_before_anything_is_loaded(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    data = save_pictures(tmp_path / "pictures")
    given = {"model": str(save_sdxl(tmp_path / "sdxl")), "tasks": ("dreambooth-3d-icons",), "data": data}
    plan_runs(replace(SETTINGS, **given, dtype="bfloat16", gradient_checkpointing=True))
    if "tasks" in changes:
        given["data"] = None
    with pytest.raises(UsageError, match=message) as error:
        plan_runs(replace(SETTINGS, **{**given, **changes}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["resolution", "clip_model"])
def test_settings_of_an_sdxl_are_refused_elsewhere(name: str, tmp_path: Path) -> None:
    values = {"resolution": 64, "clip_model": str(save_clip(tmp_path))}
    flag = "--" + name.replace("_", "-")
    for task in ("pocket-math", "pocket-icons"):
        with pytest.raises(UsageError, match=f"{flag}: is for SDXL models, and pocket-.* is none"):
            plan_runs(replace(SETTINGS, tasks=(task,), **{name: values[name]}))


def test_a_broken_picture_is_found_before_anything_is_loaded(tmp_path: Path) -> None:
    data = save_pictures(tmp_path / "pictures")
    (data / "03.png").write_bytes(b"junk")
    given = {"model": str(save_sdxl(tmp_path / "sdxl")), "tasks": ("dreambooth-3d-icons",), "data": data}
    with pytest.raises(UsageError, match=r"03\.png cannot be read as a picture"):
        plan_runs(replace(SETTINGS, **given))
