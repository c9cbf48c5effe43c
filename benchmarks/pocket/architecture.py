"""Shapes of the pocket bases, as transformers builds them.

`pocket-llama` is a Llama of 2.6 million parameters. Its width and depth are set by what plain LoRA may cost on two
CPU cores (about 160 ms for a step of 16 examples), not by what a GPU could train. `pocket-t5` is a T5 of 7.3 million
parameters with the gated feed-forward layers of T5 1.1 (Shazeer 2020, arXiv 2002.05202) and no dropout; its tasks have
short inputs and one-word answers, so that a step costs about as much.
"""

from __future__ import annotations

from dataclasses import dataclass

from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from benchmarks.pocket.corpus import BOS, EOS, PAD
from benchmarks.pocket.tokenizer import MAX_LENGTH


@dataclass(frozen=True, kw_only=True)
class LlamaShape:
    """Width, depth and vocabulary of a Llama base; embeddings are tied.

    Attributes:
        vocabulary: Number of tokens.
        hidden: Width of the residual stream; a multiple of `head`.
        intermediate: Width of the gated MLP.
        layers: Number of decoder layers.
        head: Width of an attention head.
    """

    vocabulary: int = 4096
    hidden: int = 192
    intermediate: int = 512
    layers: int = 4
    head: int = 32


POCKET_LLAMA = LlamaShape()
#: For trying the recipe out: seconds on a CPU, no useful model.
SMOKE_LLAMA = LlamaShape(vocabulary=512, hidden=32, intermediate=64, layers=2, head=16)


def build_llama(shape: LlamaShape) -> LlamaForCausalLM:
    """Build a Llama with random weights (fp32) from torch's global random state.

    Raises:
        ValueError: If the width is not a multiple of the head width.
    """
    _check_heads(shape)
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.hidden // shape.head,
        num_key_value_heads=shape.hidden // shape.head,
        head_dim=shape.head,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        pad_token_id=PAD, bos_token_id=BOS, eos_token_id=EOS, do_sample=False, max_new_tokens=128
    )
    return model


@dataclass(frozen=True, kw_only=True)
class T5Shape:
    """Width, depth and vocabulary of a T5 base; embeddings are tied.

    Attributes:
        vocabulary: Number of tokens, sentinels included.
        hidden: Width of the residual stream; a multiple of `head`.
        intermediate: Width of the gated feed-forward layers.
        layers: Number of encoder layers, and of decoder layers.
        head: Width of an attention head.
    """

    vocabulary: int = 4096
    hidden: int = 256
    intermediate: int = 512
    layers: int = 4
    head: int = 32


POCKET_T5 = T5Shape()
SMOKE_T5 = T5Shape(vocabulary=512, hidden=32, intermediate=64, layers=2, head=16)


def build_t5(shape: T5Shape) -> T5ForConditionalGeneration:
    """Build a T5 with random weights (fp32) from torch's global random state; its decoder starts with `<bos>`.

    Raises:
        ValueError: If the width is not a multiple of the head width.
    """
    _check_heads(shape)
    config = T5Config(
        vocab_size=shape.vocabulary,
        d_model=shape.hidden,
        d_kv=shape.head,
        d_ff=shape.intermediate,
        num_layers=shape.layers,
        num_heads=shape.hidden // shape.head,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
        decoder_start_token_id=BOS,
    )
    model = T5ForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        pad_token_id=PAD, eos_token_id=EOS, decoder_start_token_id=BOS, do_sample=False, max_new_tokens=128
    )
    return model


def _check_heads(shape: LlamaShape | T5Shape) -> None:
    if shape.hidden % shape.head:
        raise ValueError(f"hidden size: found {shape.hidden}, expected a multiple of the head width {shape.head}")
