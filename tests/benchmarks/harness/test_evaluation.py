from __future__ import annotations

import json
import math
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.harness.catalogue import Catalogue
from benchmarks.harness.evaluation import Evaluated, evaluate, primary, write_samples
from benchmarks.harness.host import adapted, load_base
from benchmarks.harness.subjects import Base
from benchmarks.scoring import score_examples
from benchmarks.tasks import create_task
from tests.adapters import save_adapter
from tests.benchmarks.harness.yaml_tasks import save_choice_task, save_yaml_task
from tests.models import save_tiny_model, save_tiny_t5


def evaluated(model: Any, tokenizer: Any, name: str, loaded: dict[str, Any], **changes: Any) -> Evaluated:
    settings: dict[str, Any] = {"limit": None, "num_fewshot": None, "batch_size": 4, "chat_template": False}
    return evaluate(model, tokenizer, name, loaded, **(settings | changes))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    save_tiny_model(folder / "base")
    save_adapter(folder / "adapter", folder / "base")
    return folder


def base_of(folder: Path) -> tuple[Any, Any]:
    return load_base(Base(source=str(folder)), dtype="float32", device=torch.device("cpu"))


@pytest.mark.parametrize("name", ["pocket-math", "pocket-instruct"])
def test_the_harness_has_a_model_write_what_our_scorer_has_it_write(name: str, place: Path, tmp_path: Path) -> None:
    """In other batches, for a model that never ends by itself and one that does; and both score it alike."""
    loaded = Catalogue([name], include=[], pocket_folder=tmp_path).load(name, unsafe=False)
    task = create_task(name)
    for folder, adapter, count in ((place / "base", place / "adapter", 6), (Path("pocket-llama"), None, 24)):
        source = folder if adapter else Path(__file__).parents[3] / "benchmarks/pocket/models" / folder
        base, tokenizer = base_of(source)
        with adapted(base, adapter) as model:
            found = evaluated(model, tokenizer, name, loaded, limit=count)
            ours = score_examples(model, tokenizer, task, task.examples("test")[:count], batch_size=5)
        samples = found.samples[name]
        assert [sample["resps"][0][0] for sample in samples] == [example.generated for example in ours]
        assert [sample[samples[0]["metrics"][0]] for sample in samples] == [example.score for example in ours]
        assert len({example.generated for example in ours}) > 1


def test_an_encoder_decoder_writes_what_our_scorer_has_it_write(tmp_path: Path) -> None:
    name = "pocket-nlu-paraphrase"
    loaded = Catalogue([name], include=[], pocket_folder=tmp_path / "tasks").load(name, unsafe=False)
    model, tokenizer = base_of(save_tiny_t5(tmp_path / "t5"))
    found = evaluated(model, tokenizer, name, loaded, limit=6)
    task = create_task(name)
    ours = score_examples(model, tokenizer, task, task.examples("test")[:6])
    assert [sample["resps"][0][0] for sample in found.samples[name]] == [example.generated for example in ours]


def test_choices_are_those_of_larger_likelihood(place: Path, tmp_path: Path) -> None:
    """The oracle adds up log-probabilities token by token; accuracy and its standard error are closed forms."""
    folder = save_choice_task(tmp_path / "own")
    loaded = Catalogue(["own-choice"], include=[folder], pocket_folder=tmp_path).load("own-choice", unsafe=False)
    base, tokenizer = base_of(place / "base")
    shares: list[float] = []
    with adapted(base, place / "adapter") as model:
        found = evaluated(model, tokenizer, "own-choice", loaded, on_progress=shares.append)
        right = []
        for sample in found.samples["own-choice"]:
            sums = []
            for choice in ("up", "down"):
                prompt = tokenizer(sample["doc"]["question"])["input_ids"]
                answer = tokenizer(f" {choice}")["input_ids"]
                with torch.no_grad():
                    logits = model(input_ids=torch.tensor([prompt + answer])).logits[0]
                chances = torch.log_softmax(logits, dim=-1)[len(prompt) - 1 : -1]
                sums.append(sum(float(row[token]) for row, token in zip(chances, answer, strict=True)))
            assert [float(r[0][0]) for r in sample["resps"]] == pytest.approx(sums, rel=1e-4)
            right.append(float((sums[1] > sums[0]) == sample["doc"]["answer"]))
    accuracy = sum(right) / len(right)
    result = found.tasks["own-choice"]
    spread = math.sqrt(sum((x - accuracy) ** 2 for x in right) / (len(right) - 1))
    assert result["metrics"] == [
        {"metric": "acc", "filter": "none", "value": accuracy, "standard_error": pytest.approx(spread / 2)}
    ]
    assert (result["examples"], result["num_fewshot"]) == (4, 0)
    assert shares[-1] == 1.0


def test_the_hash_is_that_of_the_harness_own_results(place: Path, tmp_path: Path) -> None:
    folder = save_choice_task(tmp_path / "own", metadata={"version": 3.0})
    loaded = Catalogue(["own-choice"], include=[folder], pocket_folder=tmp_path).load("own-choice", unsafe=False)
    found = evaluated(*base_of(place / "base"), "own-choice", loaded)
    text = "".join(s["doc_hash"] + s["prompt_hash"] + s["target_hash"] for s in found.samples["own-choice"])
    assert found.tasks["own-choice"]["hash"] == sha256(text.encode()).hexdigest()
    assert found.tasks["own-choice"]["version"] == 3.0


def test_a_group_comes_first_with_its_tasks_behind_and_few_shots_are_given(place: Path, tmp_path: Path) -> None:
    folder = save_choice_task(tmp_path / "own", "one")
    save_choice_task(folder, "two", num_fewshot=0)
    (folder / "both.yaml").write_text(
        "group: both\ntask: [one, two]\naggregate_metric_list:\n  - {metric: acc, weight_by_size: true}\n"
    )
    loaded = Catalogue(["both"], include=[folder], pocket_folder=tmp_path).load("both", unsafe=False)
    found = evaluated(*base_of(place / "base"), "both", loaded, num_fewshot=2)
    assert list(found.tasks) == ["both", "one", "two"]
    assert found.tasks["both"]["subtasks"] == ["one", "two"]
    # A task that fixes zero keeps it.
    assert [found.tasks[name]["num_fewshot"] for name in ("one", "two")] == [2, 0]
    prompts = {name: found.samples[name][0]["arguments"][0][0] for name in ("one", "two")}
    assert prompts["one"].count("\n\n") == 2
    assert prompts["two"] == "sun:"
    metric = primary(found.tasks["both"])
    assert metric is not None
    values = [found.tasks[name]["metrics"][0]["value"] for name in ("one", "two")]
    assert metric["value"] == pytest.approx(sum(values) / 2)


def test_one_task_scores_many_models_as_each_alone(place: Path, tmp_path: Path) -> None:
    """A loaded task is used again; what the model before has answered must not stay in it."""
    folder = save_choice_task(tmp_path / "own")

    def load() -> dict[str, Any]:
        return Catalogue(["own-choice"], include=[folder], pocket_folder=tmp_path).load("own-choice", unsafe=False)

    base, tokenizer = base_of(place / "base")
    shared = load()
    for adapter in (place / "adapter", None, place / "adapter"):
        with adapted(base, adapter) as model:
            again = evaluated(model, tokenizer, "own-choice", shared)
            alone = evaluated(model, tokenizer, "own-choice", load())
        assert again == alone


def test_chat_templates_are_applied(place: Path, tmp_path: Path) -> None:
    folder = save_choice_task(tmp_path / "own")
    loaded = Catalogue(["own-choice"], include=[folder], pocket_folder=tmp_path).load("own-choice", unsafe=False)
    model, tokenizer = base_of(place / "base")
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"
    found = evaluated(model, tokenizer, "own-choice", loaded, chat_template=True)
    assert found.samples["own-choice"][0]["arguments"][0][0] == "[user]sun:[assistant]"


def test_numbers_that_are_none_are_not_written_as_such(place: Path, tmp_path: Path) -> None:
    rows = [{"question": "a", "answer": "b"}]
    metrics = [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}]
    settings = {"output_type": "generate_until", "doc_to_text": "question", "doc_to_target": "answer"}
    kwargs = {"until": ["\n"], "max_gen_toks": 3}
    folder = save_yaml_task(tmp_path / "own", "one", rows, metric_list=metrics, generation_kwargs=kwargs, **settings)
    loaded = Catalogue(["one"], include=[folder], pocket_folder=tmp_path).load("one", unsafe=False)
    found = evaluated(*base_of(place / "base"), "one", loaded)
    # One example has no standard error.
    assert found.tasks["one"]["metrics"][0]["standard_error"] is None
    write_samples(tmp_path / "samples", found.samples)
    (line,) = (tmp_path / "samples" / "one.jsonl").read_text().splitlines()
    assert json.loads(line)["doc"] == rows[0]
