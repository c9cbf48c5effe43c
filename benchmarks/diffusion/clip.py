"""How like its prompt a picture is, as CLIP sees it (Radford et al., ICML 2021; Hessel et al., EMNLP 2021).

    I2T = cos(image(picture), text(prompt))        T2T = cos(text(caption of the picture), text(prompt))

in CLIP's common space. The Bi-LoRA paper reports both (Table 3) and says no more of the second than that it compares
texts. A text about the picture is needed for that, and what a captioner such as BLIP writes of it is the usual one, so
that is what we take; the captioner is the user's to give, and without one there is no T2T. Its captions are greedy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import cosine_similarity
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer, CLIPModel

#: Tokens of a caption at most.
CAPTION_TOKENS = 40
_FILES: dict[str, Any] = {"local_files_only": True}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What CLIP says of a picture; `t2t` and `caption` are None without a captioner. Cosines, in [-1, 1]."""

    i2t: float
    t2t: float | None = None
    caption: str | None = None


class PictureJudge:
    """A CLIP model and, if there is one, a captioner, both float32.

    Args:
        clip: Folder of the CLIP model, which `locate_judge` found complete.
        captioner: Folder of the captioner, or None.
        device: Where they work.

    Raises:
        OSError: If one cannot be read.
        ValueError: Likewise.
    """

    def __init__(self, clip: Path, captioner: Path | None, *, device: torch.device) -> None:
        given = {**_FILES, "use_safetensors": True, "dtype": torch.float32}
        self.device = device
        self._clip = CLIPModel.from_pretrained(clip, **given).to(device).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(clip, **_FILES)
        self._frame = AutoImageProcessor.from_pretrained(clip, **_FILES)
        self._known: dict[str, Tensor] = {}
        self._captioner: Any = None
        if captioner is not None:
            self._captioner = AutoModelForImageTextToText.from_pretrained(captioner, **given).to(device).eval()
            self._reader = AutoProcessor.from_pretrained(captioner, **_FILES)

    def __call__(self, picture: NDArray[np.uint8], prompt: str) -> Verdict:
        """Judge a picture (3, side, side) that was drawn for a prompt."""
        shown = Image.fromarray(picture.transpose(1, 2, 0))
        with torch.inference_mode():
            pixels = self._frame(images=shown, return_tensors="pt")["pixel_values"].to(self.device)
            seen = self._clip.get_image_features(pixel_values=pixels).pooler_output[0]
            i2t = cosine_similarity(seen, self._text(prompt), dim=0).item()
            if self._captioner is None:
                return Verdict(i2t=i2t)
            caption = self._caption(shown)
            t2t = cosine_similarity(self._text(caption, keep=False), self._text(prompt), dim=0).item()
        return Verdict(i2t=i2t, t2t=t2t, caption=caption)

    def _text(self, text: str, *, keep: bool = True) -> Tensor:
        if text in self._known:
            return self._known[text]
        longest = self._clip.config.text_config.max_position_embeddings
        tokens = self._tokenizer([text], truncation=True, max_length=longest, return_tensors="pt").to(self.device)
        given = {name: tokens[name] for name in ("input_ids", "attention_mask")}
        found: Tensor = self._clip.get_text_features(**given).pooler_output[0]
        if keep:
            self._known[text] = found
        return found

    def _caption(self, shown: Image.Image) -> str:
        pixels = self._reader(images=shown, return_tensors="pt").to(self.device)
        written = self._captioner.generate(**pixels, max_new_tokens=CAPTION_TOKENS, do_sample=False, num_beams=1)
        return str(self._reader.batch_decode(written, skip_special_tokens=True)[0]).strip()
