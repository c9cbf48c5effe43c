from __future__ import annotations

from benchmarks.tasks import create_task


def test_what_needs_tokens_or_logits_is_refused_with_the_reason() -> None:
    task = create_task("pocket-icons")

    def refusal(method: str, quantize: str | None = None) -> str | None:
        return task.refusal(method=method, variant="lora", quantize=quantize)

    assert "logits" in str(refusal("rop"))
    assert "tokens" in str(refusal("lora-esam"))
    assert "UNet" in str(refusal("lora", "nf4"))
    assert [refusal(name) for name in ("lora", "lora-sam", "bilora", "flat-lora")] == [None] * 4
    assert create_task("pocket-math").refusal(method="rop", variant="lora", quantize=None) is None
