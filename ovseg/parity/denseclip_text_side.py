"""Parity of DenseCLIP's text side alone: from a backbone's embeddings to the score map."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ovseg.encoders.text_aligned import TextAlignedFeatures
from ovseg.parity.denseclip_cases import compare_tensors, load_case, without_ignored
from ovseg.parity.report import EXACT, Report
from ovseg.training.heads.pixel_text_matching import PixelTextMatching


class _TextSide(PixelTextMatching, nn.Module):
    """The parameters of a DenseCLIP that no backbone, neck or head holds."""

    def __init__(self, config: Mapping[str, Any], names: list[str]) -> None:
        super().__init__()
        settings = ('text_encoder', 'context_decoder', 'context_length', 'tau')
        self.init_matching(
            **{name: config[name] for name in settings},
            token_embed_dim=config['token_embed_dim'],
            text_dim=config['text_dim'],
            vocabulary=names,
            freeze_text_encoder=False,
        )


@torch.no_grad()
def check_text_side(report: Report, folder: Path) -> None:
    """Text embeddings, what images change in them, and score maps."""
    content = report.content
    report.use('config', 'class_names', 'state_dict', 'token_embedding', 'inputs')
    config, inputs = without_ignored(content['config']), content['inputs']
    model = _TextSide(config, content['class_names']).eval()
    load_case(model, content)
    report.compare('texts', model.tokens, content['texts'], EXACT)
    features = TextAlignedFeatures((), inputs['global_feat'], inputs['visual_embeddings'])
    text, memory = model.embed_text(), model.visual_memory(features)
    matching = model.match(features)
    compare_tensors(
        report,
        '',
        {
            'visual_context': memory,
            'text_embeddings_before': text,
            'text_diff': model.context_decoder(text.expand(len(memory), -1, -1), memory),
            'text_embeddings': matching.text,
            'score_map': matching.score_map,
        },
    )
