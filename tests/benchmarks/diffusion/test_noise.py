from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from benchmarks.diffusion.noise import STEPS, noised, sample, sampling_steps, signal_shares, velocity

SHARES = signal_shares()


@pytest.fixture(scope="module")
def scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        num_train_timesteps=STEPS,
        beta_schedule="squaredcos_cap_v2",
        rescale_betas_zero_snr=True,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=True,
    )


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_schedule_is_the_rescaled_cosine_of_diffusers(scheduler: DDIMScheduler) -> None:
    assert pytest.approx(scheduler.alphas_cumprod.numpy(), abs=2e-6) == SHARES.numpy()
    assert SHARES[-1] == 0


def test_noise_and_velocity_are_those_of_diffusers(scheduler: DDIMScheduler) -> None:
    clean, noise, steps = normal(5, 3, 4, 4), normal(5, 3, 4, 4, seed=1), torch.tensor([0, 10, 500, 900, 999])
    z, v = noised(clean, noise, steps, SHARES), velocity(clean, noise, steps, SHARES)
    assert torch.allclose(z, scheduler.add_noise(clean, noise, steps), atol=1e-4)
    assert torch.allclose(v, scheduler.get_velocity(clean, noise, steps), atol=1e-4)
    # The two together give the picture back.
    share = SHARES[steps].view(-1, 1, 1, 1)
    assert torch.allclose(share.sqrt() * z - (1 - share).sqrt() * v, clean, atol=1e-5)


def test_sampling_is_that_of_diffusers(scheduler: DDIMScheduler) -> None:
    start, mixing = normal(2, 6, 8, 8), normal(6, 6, seed=2) / 5

    def predict(z: Tensor, step: int) -> Tensor:
        return torch.einsum("oc,bchw->bohw", mixing, z) * (1 + step / 1000)

    found = sample(predict, start, count=10, shares=SHARES)
    scheduler.set_timesteps(10)
    assert scheduler.timesteps.tolist() == sampling_steps(10)
    z = start
    for step in scheduler.timesteps:
        z = scheduler.step(predict(z, int(step)), step, z, eta=0.0, use_clipped_model_output=True).prev_sample
    assert torch.allclose(found, z, atol=1e-5)


def test_a_perfect_network_gives_the_picture_whatever_the_noise() -> None:
    picture = normal(1, 3, 4, 4).clamp(-1, 1)

    def predict(z: Tensor, step: int) -> Tensor:
        share = SHARES[step]
        # The noise that z holds if its picture is this one.
        noise = (z - share.sqrt() * picture) / (1 - share).sqrt()
        return share.sqrt() * noise - (1 - share).sqrt() * picture

    for count in (1, 7):
        assert torch.allclose(
            sample(predict, normal(1, 3, 4, 4, seed=9), count=count, shares=SHARES), picture, atol=1e-4
        )
