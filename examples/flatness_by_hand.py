# %% [markdown]
# # Three methods by hand
#
# The comparison command does this with seeds, tasks, intervals and a report. Here it is in a page of Python: train
# LoRA, LoRA-SAM and Bi-LoRA on the same batches, and measure where each one ends. Takes a few minutes.

# %%
import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer

from analysis import FlatnessSettings, Objective, measure_flatness
from analysis.measure.data import encode, make_batches
from benchmarks.models import SHIPPED
from benchmarks.tasks import create_task
from bilora import attach, build_optimizer

STEPS = 60
MEASURED = 16

# %% [markdown]
# The base is a Llama of 2.6 million parameters, and the task word problems of several steps. Only the answer is
# scored.

# %%
base = SHIPPED / "pocket-llama"
tokenizer = AutoTokenizer.from_pretrained(base)
examples = create_task("pocket-math").examples("train")
rows = [
    encode({"prompt": e.prompt, "completion": e.completion}, tokenizer, kind="causal", max_length=256) for e in examples
]
batches = make_batches(rows, size=16, pad_id=tokenizer.pad_token_id)
measured = make_batches(rows[:MEASURED], size=8, pad_id=tokenizer.pad_token_id)


# %% [markdown]
# One function trains any method. The two-pass method calls `forward_backward` twice; Bi-LoRA's optimizer descends,
# ascends and projects. The seed fixes the start of the adapter, so all three begin at the same point. The shipped
# weights are stored in bfloat16 and read into float32: in 16 bits a small change of a weight is rounded away.


# %%
def train(name, **options):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    model, method = attach(model, config, method=name, **options)
    model.train()
    optimizer = build_optimizer(method, lr=2e-3)
    for step in range(STEPS):
        batch = batches[step % len(batches)]

        def forward_backward(batch=batch):
            loss = model(**batch).loss
            loss.backward()
            return loss.detach()

        method.gradients(forward_backward)
        optimizer.step()
        optimizer.zero_grad()
    return model, method


# %% [markdown]
# Flatness is taken with the auxiliary off, in the space of the merged weights and in that of the factors. Every
# eigenvalue comes with its residual. The radius is the Frobenius norm of the change of the weights, in both spaces.

# %%
settings = FlatnessSettings(
    radius=0.05, top=1, bottom=0, max_products=40, ascent_steps=5, average_draws=0, slice_directions=0, gradient_rank=0
)
for name, options in [("lora", {}), ("lora-sam", {"rho": 0.01}), ("bilora", {"rho": 0.05})]:
    model, method = train(name, **options)
    moved = method.means.pop().get("perturbation_norm", 0.0)
    with method.evaluation():
        found = measure_flatness(Objective(model.eval(), measured), model, settings)
    print(f"{name}: loss {found.loss:.4f}, {method.cost.gradients:g} gradients, mean ||dW|| perturbed {moved:.4f}")
    for space, numbers in found.spaces.items():
        largest = numbers.top[0]
        print(
            f"  {space:4} lambda max {largest.value:7.2f} (residual {largest.residual:.0e}), "
            f"worst rise {numbers.worst_case.increase:.4f}"
        )

# %% [markdown]
# This was printed, after two minutes of one core:
#
# ```text
# lora: loss 0.0130, 60 gradients, mean ||dW|| perturbed 0.0000
#   full lambda max   35.90 (residual 4e-02), worst rise 0.0880
#   lora lambda max    3.43 (residual 3e-03), worst rise 0.0133
# lora-sam: loss 0.0184, 120 gradients, mean ||dW|| perturbed 0.0133
#   full lambda max  243.20 (residual 4e-01), worst rise 0.2921
#   lora lambda max   30.82 (residual 9e-02), worst rise 0.0359
# bilora: loss 0.0201, 60 gradients, mean ||dW|| perturbed 0.0500
#   full lambda max  201.31 (residual 7e-01), worst rise 0.3591
#   lora lambda max   20.09 (residual 6e-02), worst rise 0.0367
# ```
#
# One seed, 60 steps and one machine say nothing about the methods; the three have not even reached the same loss. What
# to see here is the shape of it: the same two calls for every method, the loss first, both spaces, and the
# perturbation in one unit.
