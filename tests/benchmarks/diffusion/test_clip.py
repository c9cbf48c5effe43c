from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import BlipForConditionalGeneration, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from benchmarks.diffusion.clip import CAPTION_TOKENS, PictureJudge
from tests.tiny_sdxl import clip_tokenizer, picture, save_captioner, save_clip

CPU = torch.device("cpu")


def shown(number: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.asarray(picture(number, width=40, height=40), dtype=np.uint8).transpose(2, 0, 1)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip(tmp_path_factory.mktemp("clip"))


def test_i2t_is_the_cosine_behind_clip_s_own_logits(clip: Path) -> None:
    judge = PictureJudge(clip, None, device=CPU)
    model = CLIPModel.from_pretrained(clip).eval()
    frame = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    texts = ["a roaring lion", "a hopping frog"]
    tokens = clip_tokenizer()(texts, padding=True, return_tensors="pt")
    for number in range(2):
        pixels = frame(images=Image.fromarray(shown(number).transpose(1, 2, 0)), return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            found = model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, pixel_values=pixels)
            cosines = found.logits_per_image[0] / model.logit_scale.exp()
        for index, text in enumerate(texts):
            verdict = judge(shown(number), text)
            assert verdict.i2t == pytest.approx(cosines[index].item(), abs=1e-5)
            assert (verdict.t2t, verdict.caption) == (None, None)


def test_t2t_compares_the_prompt_with_what_the_captioner_writes(clip: Path, tmp_path: Path) -> None:
    blip = save_captioner(tmp_path)
    judge = PictureJudge(clip, blip, device=CPU)
    verdict = judge(shown(0), "a roaring lion")
    assert verdict.caption
    model = CLIPModel.from_pretrained(clip).eval()
    with torch.no_grad():
        ends = [
            model.get_text_features(**clip_tokenizer()([text], truncation=True, max_length=77, return_tensors="pt"))
            for text in (verdict.caption, "a roaring lion")
        ]
        wanted = torch.cosine_similarity(*(end.pooler_output[0] for end in ends), dim=0).item()
    assert verdict.t2t == pytest.approx(wanted, abs=1e-5)
    assert judge(shown(0), verdict.caption).t2t == pytest.approx(1.0, abs=1e-5)
    longest = BlipForConditionalGeneration.from_pretrained(blip).config.text_config.max_position_embeddings
    assert longest > CAPTION_TOKENS
