"""Parity of DenseCLIP's text side alone: from a backbone's embeddings to the score map."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ovseg.encoders.dense import TextAlignedFeatures
from ovseg.training.heads.matching_settings import MatchingSettings
from ovseg.training.heads.pixel_text_matching import PixelTextMatching
from parity.denseclip.cases import close, load_case, without_ignored
from parity.report import EXACT, Case


class _TextSide(PixelTextMatching, nn.Module):
    """The parameters of a DenseCLIP that no backbone, neck or head holds."""

    def __init__(self, config: Mapping[str, Any], names: list[str]) -> None:
        super().__init__()
        settings = (
            *('text_encoder', 'context_decoder', 'context_length', 'tau'),
            *('token_embed_dim', 'text_dim'),
        )
        given = {name: config[name] for name in settings}
        self.init_matching(MatchingSettings(**given, freeze_text_encoder=False), names)


@torch.no_grad()
def check_text_side(file: Case, folder: Path) -> None:
    """Text embeddings, what images change in them, and score maps."""
    file.use('state_dict', 'token_embedding')
    inputs = file['inputs']
    model = _TextSide(without_ignored(file['config']), file['class_names']).eval()
    load_case(model, file.content)
    file.compare(EXACT, texts=model.tokens)
    features = TextAlignedFeatures((), inputs['global_feat'], inputs['visual_embeddings'])
    compare_text(file, model, features)


def compare_text(case: Case, model: PixelTextMatching, features: TextAlignedFeatures) -> None:
    """Text embeddings before and after an image, and the score map that a case has of them."""
    text, memory = model.embed_text(), model.visual_memory(features)
    matching = model.match(features)
    case.compare(
        close,
        visual_context=memory,
        text_embeddings_before=text,
        text_diff=model.context_decoder(text.expand(len(memory), -1, -1), memory),
        text_embeddings=matching.text,
        score_map=matching.score_map,
    )
