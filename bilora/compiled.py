"""Compiles the repeated layers of a model for training: one graph for all layers of a kind, whatever the lengths.

Between its matrix products a decoder layer launches dozens of small kernels, and a LoRA layer a dozen more; on a GPU
they cost as much as the products. Compiled, they become few. Compiling the repeated layer instead of the whole model
takes as long for thirty-two layers as for one and leaves loss, embeddings and loop as they are. Lengths are
symbols from the start, so that a new one compiles nothing. On the way to PyTorch's compiler, LoRA layers that read
the same input (query, key and value; gate and up) become one operator, see `bilora.pair_product`.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.fx import GraphModule, Node

#: PyTorch's backend below the graph pass; tests take one that makes no kernels.
BACKEND = "inductor"
_MOST_GRAPHS = 32
_LARGE = 10**9
_IN_PLACE = {name for name in dir(operator) if name.startswith("i") and f"__{name}__" in dir(operator)}
_PRODUCT = torch.ops.bilora.pair_product.default


def compile_layers(model: nn.Module) -> int:
    """Compile the repeated layers of a model for training; each kind compiles at its first call.

    Without gradients or in evaluation mode the layers run as they are: a compiled layer has no second derivative, and
    a graph of their own would have to be compiled for them. Not for `torch.nn.DataParallel`, whose replicas would run
    the original's weights; `DistributedDataParallel` has none. Where PyTorch fails to compile a layer, a warning says
    why and all run as they are.

    Args:
        model: A model with blocks of which it has several, see `repeated_layers`; it is changed in place.

    Returns:
        The number of layers.
    """
    if getattr(getattr(model, "config", None), "use_cache", False):
        warnings.warn(
            "config.use_cache is on: every layer is compiled on its own, since each writes its own part of the cache; "
            "set model.config.use_cache = False for training",
            stacklevel=2,
        )
    allow_several_kinds()
    layers, working = repeated_layers(model), [True]
    for layer in layers:
        compiled = torch.compile(layer._call_impl, backend=shared_inputs_backend, dynamic=True)
        # What `Module.compile` sets: hooks run inside, and copies and files of the layer leave it out.
        layer._compiled_call_impl = partial(_run, layer, compiled, working)
    return len(layers)


def compiling_pays(model: nn.Module) -> bool:
    """Return whether compiling is known to pay: on a GPU, with a large frozen base in 16 bits, as it was measured.

    A layer takes a minute to compile and a small model is done by then. Recomputed activations are left to the
    model's own code.
    """
    parameters = list(model.parameters())
    if getattr(model, "is_quantized", False) or not all(p.is_cuda for p in parameters):
        return False
    if any(getattr(module, "gradient_checkpointing", False) is True for module in model.modules()):
        return False
    narrow = sum(p.numel() for p in parameters if p.dtype in (torch.bfloat16, torch.float16))
    return narrow >= _LARGE and bool(repeated_layers(model))


def _run(layer: nn.Module, compiled: Callable[..., Any], working: list[bool], *args: Any, **kwargs: Any) -> Any:
    if working[0] and layer.training and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        try:
            return compiled(*args, **kwargs)
        except torch._dynamo.exc.TorchDynamoException as error:
            working[0] = False
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            warnings.warn(f"the layers run uncompiled, since PyTorch failed to compile one: {reason}", stacklevel=2)
    plain: Callable[..., Any] = layer._call_impl
    return plain(*args, **kwargs)


def allow_several_kinds() -> None:
    """Let PyTorch compile as many graphs of a layer's code as a model has kinds of layers.

    A model may have several (an encoder's, a decoder's, the first of each), and each is compiled for inputs with and
    without gradient. Beyond its limit PyTorch would run the others uncompiled.
    """
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _MOST_GRAPHS)


def repeated_layers(model: nn.Module) -> list[nn.Module]:
    """Return the blocks of which a model has several.

    transformers marks its blocks by a base class. Of other models the children of the innermost lists are taken
    that hold modules of one class with LoRA layers inside.
    """
    marked = [m for m in model.modules() if any(c.__name__ == "GradientCheckpointingLayer" for c in type(m).__mro__)]
    if marked:
        inside = {id(part) for layer in marked for part in layer.modules() if part is not layer}
        return [layer for layer in marked if id(layer) not in inside]
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len({type(c) for c in m}) == 1]
    adapted = [held for held in lists if any(isinstance(part, LoraLayer) for part in held.modules())]
    return [child for held in adapted if not any(_holds(held, other) for other in adapted) for child in held]


def _holds(outer: nn.Module, inner: nn.Module) -> bool:
    return outer is not inner and any(part is inner for part in outer.modules())


def shared_inputs_backend(graph: GraphModule, inputs: Sequence[Tensor]) -> Callable[..., Any]:
    """Compile a graph after joining its LoRA layers that read the same input."""
    join_shared_inputs(graph)
    backend: Any = torch._dynamo.lookup_backend(BACKEND)
    compiled: Callable[..., Any] = backend(graph, inputs)
    return compiled


def join_shared_inputs(graph: GraphModule) -> int:
    """Make one operator of all LoRA layers that read the same input.

    Returns:
        The number of operators that replaced several.
    """
    readers: dict[tuple[Node, bool, int], list[Node]] = {}
    section = 0
    for node in graph.graph.nodes:
        # What is written over, or recorded for gradients in another way, in between is not the same input.
        section += _changes_what_follows(node)
        if node.op == "call_function" and node.target in (_PRODUCT, torch.ops.bilora.pair_product):
            x, _, bias, *_ = node.args
            readers.setdefault((x, bool(bias), section), []).append(node)
    shared = [nodes for nodes in readers.values() if len(nodes) > 1]
    for nodes in shared:
        _join(graph, nodes)
    if shared:
        graph.graph.lint()
        graph.recompile()
    return len(shared)


def _changes_what_follows(node: Node) -> bool:
    """Whether a node may write into a tensor, or switches gradients or autocast."""
    if node.op == "call_method":
        return str(node.target).endswith("_") and not str(node.target).endswith("__")
    if node.op != "call_function":
        return node.op == "call_module"
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target._schema.is_mutable
    name = getattr(node.target, "__name__", "")
    switches = {"_set_grad_enabled", "_enter_autocast", "_exit_autocast", "_enter_inference_mode"}
    writes = name.endswith("_") or name == "setitem" or "out" in node.kwargs or bool(node.kwargs.get("inplace"))
    return writes or name in switches or (name in _IN_PLACE and node.target is getattr(operator, name, None))


def _join(graph: GraphModule, nodes: list[Node]) -> None:
    first = nodes[0]
    x = first.args[0]
    # What the later ones are made of (factors, cast and stacked) comes from the graph's inputs alone, or the layer
    # would not read x: it can be computed before the first.
    moved: set[Node] = set()
    order = {node: position for position, node in enumerate(graph.graph.nodes)}
    for node in nodes[1:]:
        for source in node.all_input_nodes:
            _move_before(first, source, order, moved)
    parts: list[list[Any]] = [[a for node in nodes for a in node.args[position]] for position in (1, 2, 4)]  # type: ignore[union-attr]
    weights, bias, B = parts
    with graph.graph.inserting_before(first):
        A = graph.graph.call_function(torch.cat, ([node.args[3] for node in nodes],))
        joined = graph.graph.call_function(_PRODUCT, (x, weights, bias, A, B))
        outputs = [graph.graph.call_function(operator.getitem, (joined, index)) for index in range(len(nodes))]
    for node, output in zip(nodes, outputs, strict=True):
        for user in list(node.users):
            # Before they are joined, only the first output of each is read: its own y.
            user.replace_all_uses_with(output)
            graph.graph.erase_node(user)
        graph.graph.erase_node(node)


def _move_before(anchor: Node, node: Node, order: dict[Node, int], moved: set[Node]) -> None:
    if node in moved or order[node] < order[anchor]:
        return
    for source in node.all_input_nodes:
        _move_before(anchor, source, order, moved)
    anchor.prepend(node)
    moved.add(node)
