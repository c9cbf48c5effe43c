"""The words of the captions as tokens: one token a word, and every caption padded to one length.

Two words stand in the vocabulary and in no caption of the base: "icon", and "sks", the rare token to which a new style
is bound as in DreamBooth (Ruiz et al., CVPR 2023, arXiv 2208.12242).
"""

from __future__ import annotations

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from benchmarks.pocket.pictures.scene import PLACES, SIZES
from benchmarks.pocket.pictures.styles import COLOURS, GROUNDS, STYLES
from benchmarks.pocket.pictures.subjects import SUBJECTS

# CLIP reads a prompt at its end only if the end is not token 2, see `CLIPTextModelWithProjection`.
PAD, BOS, UNKNOWN, EOS = 0, 1, 2, 3
_SPECIAL = {"<pad>": PAD, "<bos>": BOS, "<unk>": UNKNOWN, "<eos>": EOS}
RARE = ("icon", "sks")
#: Tokens of a caption, start, end and padding included.
LENGTH = 20


def vocabulary() -> list[str]:
    """Return all words in the order of their tokens."""
    little = ("a", "on", "in", "of", "the", "at", "picture", "style", "background")
    places = " ".join(PLACES).split()
    words = (*_SPECIAL, *little, *places, *SIZES, *GROUNDS, *STYLES, *COLOURS, *SUBJECTS, *RARE)
    return list(dict.fromkeys(words))


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer of the captions."""
    tokens = {word: index for index, word in enumerate(vocabulary())}
    inner = Tokenizer(WordLevel(tokens, unk_token="<unk>"))
    inner.pre_tokenizer = WhitespaceSplit()
    inner.post_processor = TemplateProcessing(single="<bos> $A <eos>", special_tokens=[("<bos>", BOS), ("<eos>", EOS)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=LENGTH,
    )
