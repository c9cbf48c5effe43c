"""Bi-LoRA with the adversary it aims at: the best low-rank one for the last gradients, set rather than trained.

Over all E of rank r in each layer with sqrt(sum_l ||E_l||_F^2) <= rho, the first-order gain sum_l <G_l, E_l> is
largest at

    E_l* = rho [G_l]_r / sqrt(sum_k ||[G_k]_r||_F^2),    with gain  rho sqrt(sum_l sum_{i<=r} sigma_i(G_l)^2),

[G]_r being the best rank-r approximation of G = dL/dW. This corrects Proposition 3 of the Bi-LoRA paper (arXiv
2508.19564), whose maximiser rho U_r V_r^T has norm rho sqrt(r) and lies outside the ball. [G]_r comes from a linear
sketch of the gradient (`bilora.gradient_sketch`), so that a step still costs one gradient: the adversary is that of
the steps before, as Bi-LoRA's own is. It tells how much of Bi-LoRA's effect is lost by training the adversary.

The sketch remembers past steps by default. An adversary of the last gradient alone moves the point at which the
next gradient is taken, and at large radii the two chase each other: on a tiny Llama with the primary held still the
adversary's share of the best gain at rho = 0.1 was 0.15 without memory, 0.75 at 0.5 and 1.00 at 0.9.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from peft import PeftConfig
from torch import Tensor, nn

from bilora.devices import together
from bilora.gradient_sketch import GradientSketch
from bilora.methods.auxiliary import AuxiliaryMethod, AuxiliaryOptions
from bilora.methods.options import MethodError, between, option, optional, positive_integer
from bilora.methods.sam import scale_to
from bilora.methods.window import Window
from bilora.ranks import agreed
from bilora.shards import is_sharded, put


@dataclass(frozen=True, kw_only=True)
class ExactAdversaryOptions(AuxiliaryOptions):
    """Options of Bi-LoRA with the exact adversary."""

    sketch_memory: float = option(
        0.9,
        between(0.0, 1.0, high_allowed=False),
        "weight of the past in the gradient's sketch (past <- memory * past + new); 0: the last step's gradient alone",
    )
    sketch_width: int | None = option(
        None,
        optional(positive_integer),
        "columns k of the sketch, at least auxiliary_rank; none: 2 auxiliary_rank + 1; more is more exact",
    )


class ExactAdversary(AuxiliaryMethod):
    """The auxiliary is the best rank-r adversary on the sphere, found anew after every step."""

    name = "bilora-exact"
    summary = "auxiliary adapter is set to the best rank-r adversary of the last gradients; one gradient a step"
    memory_rule = "auxiliary factors, sketches of the gradient and their test matrices"
    source = "this project: arXiv 2508.19564 with Proposition 3 corrected; sketch: arXiv 1609.00048"
    options_class = ExactAdversaryOptions
    options: ExactAdversaryOptions
    trains_auxiliary = False

    def attach(self, model: nn.Module, config: PeftConfig | None = None) -> nn.Module:
        """See `AuxiliaryMethod.attach`; every adapted layer is listened to while it is trained.

        Raises:
            MethodError: If an adapted layer is not linear.
        """
        seed = torch.initial_seed() % 2**63  # so that it fits a signed tensor
        attached = super().attach(model, config)
        factors = self.pair.auxiliary
        for layer in factors:
            if layer.A.dim() != 2 or len(layer.A) != len(factors[0].A):
                raise MethodError(
                    f"method {self.name!r} knows linear layers and one auxiliary rank; {layer.name} has a factor of "
                    f"shape {tuple(layer.A.shape)}: leave it out of target_modules, or set auxiliary_rank"
                )
        rank, width = len(factors[0].A), self.options.sketch_width
        if width is not None and width < rank:
            raise MethodError(
                f"method {self.name!r}: option sketch_width is {width}; expected at least the auxiliary's rank, {rank}"
            )
        self.sketch = GradientSketch(
            [self.model.get_submodule(layer.name) for layer in factors],
            [(len(layer.B), layer.A.shape[1]) for layer in factors],
            rank=rank,
            memory=self.options.sketch_memory,
            seed=seed,
            width=width,
        )
        return attached

    def follow(self) -> None:
        """See `Method.follow`; all ranks take the test matrices of the first."""
        super().follow()
        seed = agreed(self.sketch.seed)
        if seed != self.sketch.seed:
            self.sketch.seed = seed

    def before_backward(self, window: Window) -> None:
        """Listen to the passes to come."""
        window.require_true_gradients("the sketches of the gradient add up over steps")
        self.sketch.place([factors.A.device for factors in self.pair.auxiliary])
        self.sketch.listening = True

    def refine_gradients(self, window: Window) -> None:
        """Remember the gradient of the effective batch."""
        self.sketch.listening = False
        self.sketch.close_step()

    def abandon_step(self) -> None:
        """Forget what was heard of a pass that failed."""
        self.sketch.listening = False
        self.sketch.drop_step()

    def after_step(self) -> None:
        """Set the adversary of the next step."""
        self._set_adversary()
        self.means.add("perturbation_norm", self.pair.auxiliary_norms_squared().sum().sqrt())

    @torch.no_grad()
    def _set_adversary(self) -> None:
        """Write E* = s B2 A2: B2 = U sqrt(c S), A2 = sqrt(c S) V^T, c = rho / (s ||S||), ||S|| over all layers."""
        groups = self.sketch.leading()
        scale = scale_to(self.options.rho, together([group.S.norm() for group in groups]).norm())
        for group in groups:
            layers = [self.pair.auxiliary[i] for i in group.indices]
            scalings = torch.stack([self.scalings[i] for i in group.indices])
            roots = (group.S * (scale / scalings).to(group.S.device)[:, None]).sqrt()
            A, B = (roots[:, :, None] * group.Vt).unbind(), (group.U * roots[:, None, :]).unbind()
            if is_sharded(layers[0].A):
                for factors, a, b in zip(layers, A, B, strict=True):
                    put(factors.A, a)
                    put(factors.B, b)
                continue
            rank = roots.shape[1]  # smaller than the factors' where a side of W is: the rest stays out
            torch._foreach_copy_([f.A[:rank] for f in layers], list(A))
            torch._foreach_copy_([f.B[:, :rank] for f in layers], list(B))

    def extra_memory(self) -> int:
        """Auxiliary factors, sketches, test matrices."""
        return sum(p.nbytes for p in self.auxiliary_parameters()) + self.sketch.nbytes()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the sketches and the seed of their test matrices; the auxiliary is made from them."""
        sketches = {f"sketch.{index}": value.clone() for index, value in enumerate(self.sketch.tensors())}
        return super().state_dict() | sketches | {"sketch_seed": torch.tensor(self.sketch.seed)}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` returned.

        Raises:
            MethodError: If the state belongs to other layers or another auxiliary rank.
        """
        super().load_state_dict(state)
        self.sketch.place([factors.A.device for factors in self.pair.auxiliary])
        for index, tensor in enumerate(self.sketch.tensors()):
            saved = state.get(f"sketch.{index}")
            if saved is None or saved.shape != tensor.shape:
                found = "nothing" if saved is None else f"shape {tuple(saved.shape)}"
                raise MethodError(
                    f"the checkpoint holds {found} for gradient sketch {index}, expected shape {tuple(tensor.shape)}; "
                    "resume with the adapter and the auxiliary_rank the run was started with"
                )
            tensor.copy_(saved)
        self.sketch.seed = int(state["sketch_seed"])
        self._set_adversary()
