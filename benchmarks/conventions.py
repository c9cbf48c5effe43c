"""The conventions behind the numbers, as sentences for the head of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.chat import has_chat_template
from benchmarks.settings import CompareSettings
from benchmarks.tasks import SPLITS, Task, create_task
from benchmarks.tasks.data_task import DataTask
from benchmarks.tasks.dreambooth import DreamBooth
from bilora.methods import METHODS
from bilora.variants import resolve_name


def conventions(settings: CompareSettings, folders: Mapping[str, Path]) -> dict[str, str]:
    """Return named sentences in the order in which a report prints them.

    Args:
        settings: The settings.
        folders: Where the base models lie.
    """
    spaces = ", ".join(settings.spaces)
    trained = {resolve_name(name).method for name in settings.methods}
    sentences = {
        "Radius of training": "What rho bounds in each method: "
        + "; ".join(f"{name}: {METHODS[name].radius_convention}" for name in METHODS if name in trained)
        + ". The column 'perturbation norm' is the weight-space norm of what was really perturbed, mean over steps.",
        "Radius of measurement": "Sharpness is the increase of the loss when the weights move by a Frobenius norm "
        f"||dW||_F over all adapted matrices together, the same in every space: at most {settings.radius:g} in the "
        f"worst case, exactly {settings.average_radius:g} in random directions for the average case.",
        "Spaces": f"Measured in: {spaces}. full: the merged matrices of all adapted layers. lora: the primary factors "
        "(A, B). tangent: directions of W that (A, B) reach to first order.",
        "Gauge": "Curvature in (A, B) depends on how a product is split into factors; the lora space is taken in the "
        "balanced gauge A A^T = B^T B of every layer. Full-space values do not depend on it.",
        "Reduction": "Losses are means over completion tokens (prompts are masked), over unequal batches too.",
        "Data": f"Sharpness is measured on at most {settings.measure_examples} training examples, the first "
        "ones, the same for every method; other examples give other values, by a factor of two or so at sixteen, "
        "and no interval covers that. Scores and evaluation loss are taken on the test split, curves on validation.",
        "Evaluation": "Auxiliary adapters are off in every evaluation, measurement and export.",
        "Pairing": "Equal seeds share data order and the primary adapter's start across methods. " + _recipe(settings),
        "Cost": "A method's cost is its step in plain gradients (forward and backward pass of the primary adapter "
        "alone), timed in turn during the same training, over the baseline's. Milliseconds are the median over all "
        "steps, without evaluations, and carry whatever else the machine was doing.",
    }
    if settings.measure and settings.dtype != "float32":
        sentences["Precision"] = (
            f"Frozen weights are {'as stored' if settings.dtype == 'auto' else settings.dtype} in training and "
            "scoring, and the same numbers in float32 where sharpness is measured: its moves are smaller than 16 bits "
            "can hold."
        )
    if (prompts := prompt_sentence(settings, folders)) is not None:
        sentences["Prompts"] = prompts
    tasks = _tasks(settings)
    sentences |= _of_tasks(settings, tasks)
    if all(task.medium == "picture" for task in tasks):
        del sentences["Reduction"]
    if settings.score:
        sentences["lm-eval"] = (
            f"The adapters were scored by the lm-evaluation-harness on {', '.join(settings.score)}, auxiliary off, in "
            "float32. A column holds the first metric that a task lists, by its first filter; all of them, with their "
            "standard errors over examples, are in scores.csv."
            + (f" Only the first {settings.score_limit} examples of each task." if settings.score_limit else "")
        )
    if not settings.measure:
        for name in ("Radius of measurement", "Spaces", "Gauge"):
            del sentences[name]
        sentences["Data"] = "Scores and evaluation loss are taken on the test split; curves on the validation split."
    return sentences


def _of_tasks(settings: CompareSettings, tasks: Sequence[Task]) -> dict[str, str]:
    """Say how answers are scored where that is not by one generated text."""
    sentences: dict[str, str] = {}
    likelihood = [task.name for task in tasks if task.by_likelihood]
    if likelihood:
        sentences["Scores"] = (
            f"The score of {', '.join(likelihood)} is the inverse perplexity exp(-mean loss over the tokens of an "
            "answer), the mean over examples; nothing is generated."
        )
    dialogues = [task.name for task in tasks if not task.by_likelihood and _has_several_turns(task)]
    if dialogues:
        sentences["Turns"] = (
            f"Later turns of {', '.join(dialogues)} are asked with the model's own answers in the prompt, and a "
            "dialogue's score is the mean over its turns. Training, losses and sharpness have the reference answers in "
            "the prompt, and every turn is an example of its own."
        )
    pictured = [task for task in tasks if task.medium == "picture"]
    if pictured:
        sentences["Pictures"] = _pictures(pictured)
    latent = [task for task in pictured if isinstance(task, DreamBooth)]
    if latent:
        sentences |= _drawn(settings, latent)
    return sentences


def _pictures(tasks: Sequence[Task]) -> str:
    draws = "eight" if any(isinstance(task, DreamBooth) for task in tasks) else "four"
    return (
        f"{', '.join(task.name for task in tasks)}: losses are mean squared errors of what the network predicts, noise "
        "or velocity as its schedule says, over all values and pictures. In training every picture meets fresh noise "
        "at a random step, the same for every method of a seed; evaluations and sharpness have fixed noises at steps "
        f"that spread evenly over the schedule, {draws} a picture in evaluations and one for sharpness. Pictures are "
        "sampled from equal noise in every method."
    )


def _drawn(settings: CompareSettings, tasks: Sequence[DreamBooth]) -> dict[str, str]:
    """Say how SDXL's pictures are made and what scores them."""
    names = ", ".join(task.name for task in tasks)
    sizes = "; ".join(" / ".join(str(len(task.examples(split))) for split in SPLITS) for task in tasks)
    made = (
        f"{names}: {sizes} pictures to train on, for validation and for test. Text encoders and autoencoder are frozen "
        "and were run once; latents are the means of the autoencoder, which is float32. Losses are taken on held-out "
        "pictures. Prompts of the test name things that no picture shows; they are drawn with the model's own sampler, "
        f"{tasks[0].sampling_steps} steps, guidance {tasks[0].guidance:g}."
    )
    if settings.clip_model is None:
        scored = (
            "The score is 1 - loss on the held-out pictures, the share of the noise that the network explains. Drawn "
            "pictures are shown and not scored: no CLIP model was given (--clip-model)."
        )
    else:
        scored = (
            f"I2T is the cosine of picture and prompt in the space of {settings.clip_model}, the mean over pictures, "
            "and the score. "
        )
        scored += (
            f"T2T is that of the prompt and a caption of the picture by {settings.caption_model}: our reading, the "
            "paper says no more than text-text similarity."
            if settings.caption_model is not None
            else "T2T needs a caption of the picture, and no captioner was given (--caption-model)."
        )
    return {"SDXL": made, "Scores of pictures": scored}


def prompt_sentence(settings: CompareSettings, folders: Mapping[str, Path]) -> str | None:
    """Return how instructions and chats are written for each model, or None if no task has any."""
    chats = [task.name for task in _tasks(settings) if task.medium == "text" and task.examples("train")[0].messages]
    if not chats:
        return None
    names = ", ".join(chats)
    plain = f"as plain text (instructions in Alpaca's form, chats as User: and Assistant:) for {names}"
    if settings.chat_template == "none":
        return f"Prompts are written {plain}, as --chat-template none asks."
    without = [model for model, folder in folders.items() if not has_chat_template(folder)]
    if without:
        return f"{', '.join(without)} has no chat template; prompts are written {plain}."
    return f"Prompts of {names} are written by the model's own chat template."


def _tasks(settings: CompareSettings) -> list[Task]:
    return [create_task(name, data=settings.data) for name in settings.tasks]


def _has_several_turns(task: Task) -> bool:
    return len(task.turns(task.examples("train")[0])) > 1


def _recipe(settings: CompareSettings) -> str:
    if settings.tune is not None:
        return (
            f"Every method had {settings.tune} trials over the same learning rates, and over radii where it has one, "
            "chosen by its score on validation examples with a seed of its own; test examples were not read. Steps and "
            "batch size are the task's, calibrated with plain LoRA alone."
        )
    if any(isinstance(task, DataTask) for task in _tasks(settings)):
        return (
            "All methods share one recipe, by default the Bi-LoRA paper's for the task; radii are each method's own "
            "and were not tuned on it."
        )
    changed = [name for name in ("steps", "batch_size", "learning_rate") if getattr(settings, name) is not None]
    if changed:
        return f"All methods share one recipe, with {', '.join(changed)} set by hand; radii are each method's own."
    return (
        "All methods share the task's recipe (steps, batch size, learning rate), which was calibrated with plain LoRA "
        "alone; radii are each method's own and were not tuned on the task."
    )
