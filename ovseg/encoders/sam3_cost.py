"""What SAM 3 costs an image, counted on the sizes of a config, without weights or memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ovseg.encoders.sam3 import LoadedSAM3, PhraseBytes, sam3_config
from ovseg.encoders.sam3_concepts import ConceptModel


@dataclass(frozen=True)
class ConceptCost:
    """Floating-point operations of SAM 3's parts, two for a multiplication with its addition.

    Attributes:
        image: the vision encoder, once an image; the geometry token is below a thousandth of it.
        text: a phrase whose tokens are not cached yet.
        encoder: a phrase.
        decoder: a phrase, where presence or instances are asked for.
        masks: a phrase, where the semantic map or instances are asked for.
    """

    image: float
    text: float
    encoder: float
    decoder: float
    masks: float

    @property
    def presence(self) -> float:
        """Of a phrase whose presence alone is asked."""
        return self.encoder + self.decoder

    @property
    def phrase(self) -> float:
        """Of a phrase that is asked for all heads."""
        return self.encoder + self.decoder + self.masks

    def asking(self, phrases: int) -> float:
        """Of an image that is asked for some phrases, their text cached.

        Args:
            phrases: how many.
        """
        return self.image + phrases * self.phrase


def count_cost(size: int | None = None, fields: Mapping[str, Any] | None = None) -> ConceptCost:
    """Counts the parts of a SAM 3.

    Args:
        size: side of the image in pixels; None for that of the config.
        fields: of ``Sam3Config``; None for the published one.

    Raises:
        UserError: transformers is missing or too old.
    """
    return _count(size) if fields is None else _counted(size, fields)


@cache
def _count(size: int | None) -> ConceptCost:
    return _counted(size, {})


def _counted(size: int | None, fields: Mapping[str, Any]) -> ConceptCost:
    from transformers import Sam3Model

    config = sam3_config(fields)
    with torch.device('meta'):
        # Attention as plain products, which the counter knows on every torch.
        config._attn_implementation = 'sdpa'
        built: Any = Sam3Model(config)
        text: Any = config.text_config
        length = text.max_position_embeddings
        loaded = LoadedSAM3(built.eval(), PhraseBytes(text.vocab_size, length), 'meta', 'none')
        model = ConceptModel(loaded).eval()
        side = size or model.image_size
        width = model.tower.sizes[1]
        sam, prompt = model.model, torch.empty(1, length + 1, width)
        tokens = torch.zeros(1, length, dtype=torch.int64)
        with torch.no_grad():
            image, seen = _flops(lambda: _seen(model, side))
            text_cost, _ = _flops(
                lambda: sam.text_projection(sam.text_encoder(tokens).last_hidden_state)
            )
            levels = seen.fpn_hidden_states[:3]
            position = seen.fpn_position_encoding[2]
            encoder, encoded = _flops(
                lambda: sam.detr_encoder(
                    vision_features=[levels[2]],
                    text_features=prompt,
                    vision_pos_embeds=[position],
                )
            )
            places, shape = encoded.last_hidden_state, levels[2].shape[2:]
            decoder, decoded = _flops(
                lambda: _decoded(sam, places, prompt, torch.tensor([shape], device='cpu'))
            )
            masks, _ = _flops(
                lambda: sam.mask_decoder(
                    decoder_queries=decoded.intermediate_hidden_states[-1],
                    backbone_features=list(levels),
                    encoder_hidden_states=places,
                    prompt_features=prompt,
                )
            )
    return ConceptCost(image, text_cost, encoder, decoder, masks)


def _seen(model: ConceptModel, side: int) -> Any:
    model._move_to(side)
    return model.model.vision_encoder(torch.empty(1, 3, side, side))


def _decoded(sam: Any, places: Tensor, prompt: Tensor, shapes: Tensor) -> Any:
    decoded = sam.detr_decoder(
        vision_features=places,
        text_features=prompt,
        vision_pos_encoding=places,
        spatial_shapes=shapes,
    )
    sam.dot_product_scoring(decoded.intermediate_hidden_states[-1:], prompt)
    return decoded


def _flops(run: Callable[[], Any]) -> tuple[float, Any]:
    with FlopCounterMode(display=False) as counter:
        found = run()
    return float(counter.get_total_flops()), found
