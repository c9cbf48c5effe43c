"""Text-to-image diffusion in a comparison: noise, the UNet with its loss, prompts, sampling. Needs diffusers."""
