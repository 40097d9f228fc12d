"""Trains a SAM 3 as SAM 3 is trained: by phrases, and the masks of all that each names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt
import open_clip
import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import box_convert, masks_to_boxes

from ovseg.encoders.sam3 import sam3_config
from ovseg.encoders.sam3_concepts import token_mask
from ovseg.errors import UserError
from ovseg.registry import MODELS
from ovseg.scenes.clip_contrast import rows_of_tokens, token_ids_of
from ovseg.scenes.concept_start import start_at_towers
from ovseg.settings import read_settings
from ovseg.training.losses.concept_losses import (
    ConceptOutputs,
    ConceptWeights,
    concept_losses,
    whole_masks,
)
from ovseg.training.losses.mask_losses import mask_iou


@MODELS.register_module()
class ConceptTraining(BaseModel):
    """transformers' ``Sam3Model`` with its losses, for mmengine's Runner.

    The weights worth keeping are ``sam3``.

    Args:
        sam3: fields of ``Sam3Config``. The text tower is CLIP's; its vocabulary is set here.
        words: every word that phrases use: the token embedding holds only their rows.
        weights: fields of :class:`~ovseg.training.losses.concept_losses.ConceptWeights`.
        start: an embedded CLIP whose towers training starts with, see
            :func:`~ovseg.scenes.concept_start.start_at_towers`; None starts at random.
        absent_drawn: share of the phrases that name nothing there whose masks are drawn: they are
            the costly part, and such a phrase has one lesson for them.

    Raises:
        UserError: transformers is missing or too old, or the fields make no SAM 3.

    Source: SAM 3 (arXiv 2511.16719), section 3; its towers start as those of a CLIP, the Perception
    Encoder. It learns in four stages, this one in one.
    """

    def __init__(
        self,
        sam3: Mapping[str, Any],
        words: str,
        weights: Mapping[str, float] | None = None,
        start: str | None = None,
        absent_drawn: float = 0.25,
    ) -> None:
        super().__init__()
        if not 0 <= absent_drawn <= 1:
            raise UserError(f'model.absent_drawn must be from 0 to 1, got {absent_drawn}')
        length = sam3.get('text_config', {}).get('max_position_embeddings', 32)
        self.tokenizer = open_clip.SimpleTokenizer(context_length=length)
        self.token_ids = token_ids_of(words, self.tokenizer)
        self.architecture = _with_vocabulary(sam3, self.tokenizer.vocab_size)
        small = _with_vocabulary(sam3, len(self.token_ids))
        config = sam3_config(small)
        from transformers import Sam3Model

        self.sam3 = Sam3Model(config)
        self.weights = read_settings(ConceptWeights, weights, 'model.weights')
        self.start, self.absent_drawn = start, absent_drawn
        self.end: int = small['text_config']['eos_token_id']

    def init_weights(self) -> None:
        """Spreads the weights; the Runner calls this once.

        transformers' own start is for towers that have weights already: it leaves a tower of this
        size almost without a signal, and all reference boxes in one place.
        """
        super().init_weights()
        sam3: Any = self.sam3
        for part in sam3.modules():
            if isinstance(part, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                nn.init.xavier_uniform_(part.weight)
        decoder = sam3.detr_decoder
        for table in (decoder.query_embed, decoder.reference_points, decoder.presence_token):
            nn.init.normal_(table.weight)
        nn.init.zeros_(decoder.box_head.layer3.weight)  # boxes start at their references
        with torch.no_grad():
            # Masks start undecided: products of 64 numbers would start sure, and mostly wrong.
            sam3.mask_decoder.mask_embedder.layers[-1].weight.mul_(0.1)
        nn.init.normal_(sam3.text_encoder.get_input_embeddings().weight, std=0.5)
        if self.start is not None:
            start_at_towers(sam3, self.start, self.token_ids)

    def forward(
        self,
        inputs: Sequence[Tensor] | Tensor,
        phrases: Sequence[Sequence[str] | npt.NDArray[np.str_]],
        masks: Sequence[Tensor],
        members: Sequence[Tensor],
        boxes: Sequence[Tensor],
        box_labels: Sequence[Tensor],
        mode: str = 'loss',
    ) -> dict[str, Tensor]:
        """Returns the losses.

        Args:
            inputs: B times (3, S, S) uint8 RGB.
            phrases: B times P strings.
            masks: B times (M, s, s) bool, s four times the patch grid's side; M may differ.
            members: B times (P, M) bool.
            boxes: B times (P, N, 4), centre and size in [0, 1].
            box_labels: B times (P, N): 1, 0 or -10.
            mode: 'loss' only.

        Returns:
            See :func:`~ovseg.training.losses.concept_losses.concept_losses`, and for the log
            ``presence_right``, the share of phrases that are rightly said to be there or not, and
            ``semantic_iou`` of those there.
        """
        if mode != 'loss':
            raise ValueError(f"ConceptTraining has the mode 'loss' only, got '{mode}'")
        device = next(self.parameters()).device
        images = torch.stack([image.to(device) for image in inputs]).float() / 127.5 - 1
        if [len(each) for each in phrases] != [len(each) for each in members]:
            # What a collating that takes lists apart makes of them would train, on wrong answers.
            raise ValueError(
                f'phrases are {[len(each) for each in phrases]} for the images of a batch, their '
                f'answers {[len(each) for each in members]}'
            )
        asked = [str(phrase) for each in phrases for phrase in each]
        answers, targets, meant = _padded(masks, members, device)
        is_there = meant.any(1)
        is_drawn = is_there | (torch.rand(len(meant), device=device) < self.absent_drawn)
        found = self._ask(
            images,
            self._tokens(asked).to(device),
            torch.cat([each.to(device) for each in boxes]),
            torch.cat([each.to(device) for each in box_labels]),
            is_drawn.nonzero()[:, 0],
        )
        losses = concept_losses(found, answers, targets, meant, self.weights)
        with torch.no_grad():
            right = ((found.presence[-1] > 0) == is_there).float().mean()
            named = is_there[found.drawn]
            whole = whole_masks(answers, meant)[is_there]
            iou = mask_iou(found.semantic[named] > 0, whole).mean()
        return {**losses, 'presence_right': right, 'semantic_iou': iou}

    def _ask(
        self, images: Tensor, tokens: Tensor, boxes: Tensor, labels: Tensor, rows: Tensor
    ) -> ConceptOutputs:
        """What the model says of B images and R = B P phrases, image by image; masks of rows."""
        from transformers.models.sam3.modeling_sam3 import inverse_sigmoid

        model, repeats = self.sam3, len(tokens) // len(images)
        seen = model.vision_encoder(images)
        levels = [level.repeat_interleave(repeats, 0) for level in seen.fpn_hidden_states[:3]]
        places = seen.fpn_position_encoding[2].repeat_interleave(repeats, 0)
        text_mask = token_mask(tokens, self.end)
        text = model.text_encoder(input_ids=tokens, attention_mask=text_mask.long())
        shown = model.geometry_encoder(
            box_embeddings=boxes,
            box_mask=labels >= 0,
            box_labels=labels.clamp_min(0),
            img_feats=(levels[2],),
            img_pos_embeds=(places,),
        )
        prompt = torch.cat(
            [model.text_projection(text.last_hidden_state), shown.last_hidden_state], 1
        )
        mask = torch.cat([text_mask, shown.attention_mask.bool()], 1)
        encoded = model.detr_encoder(
            vision_features=[levels[2]],
            text_features=prompt,
            vision_pos_embeds=[places],
            text_mask=mask,
        )
        decoded = model.detr_decoder(
            vision_features=encoded.last_hidden_state,
            text_features=encoded.text_features,
            vision_pos_encoding=encoded.pos_embeds_flattened,
            text_mask=mask,
            spatial_shapes=encoded.spatial_shapes,
        )
        queries = decoded.intermediate_hidden_states
        scores = model.dot_product_scoring(
            decoder_hidden_states=queries, text_features=encoded.text_features, text_mask=mask
        )[..., 0]
        offsets = model.detr_decoder.box_head(queries)
        drawn = model.mask_decoder(
            decoder_queries=queries[-1][rows],
            backbone_features=[level[rows] for level in levels],
            encoder_hidden_states=encoded.last_hidden_state[rows],
            prompt_features=prompt[rows],
            prompt_mask=mask[rows],
        )
        return ConceptOutputs(
            decoded.presence_logits[..., 0],
            scores,
            (inverse_sigmoid(decoded.reference_boxes) + offsets).sigmoid(),
            rows,
            drawn.pred_masks,
            drawn.semantic_seg[:, 0],
        )

    def _tokens(self, phrases: Sequence[str]) -> Tensor:
        return rows_of_tokens(self.tokenizer(list(phrases)), self.token_ids, phrases)


def _with_vocabulary(fields: Mapping[str, Any], size: int) -> dict[str, Any]:
    """The fields with a text tower of so many tokens, of which the last two are start and end."""
    changed = deepcopy(dict(fields))
    changed['text_config'] = {
        **changed.get('text_config', {}),
        'vocab_size': size,
        'bos_token_id': size - 2,
        'eos_token_id': size - 1,
        'pad_token_id': 0,
    }
    return changed


def _padded(
    masks: Sequence[Tensor], members: Sequence[Tensor], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Masks (R, M, s, s), boxes (R, M, 4) and members (R, M) of all questions, M the most."""
    most = max(len(each) for each in masks)
    drawn, boxes, meant = [], [], []
    for own, asked in zip(masks, members, strict=True):
        own, asked = own.to(device), asked.to(device)
        count, repeats = most - len(own), len(asked)
        side = own.shape[-1]
        # Corners are the first and the last cell inside.
        corners = masks_to_boxes(own) + own.new_tensor([0, 0, 1, 1], dtype=torch.float32)
        centred = box_convert(corners / side, 'xyxy', 'cxcywh')
        drawn.append(F.pad(own, (0, 0, 0, 0, 0, count)).expand(repeats, -1, -1, -1))
        boxes.append(F.pad(centred, (0, 0, 0, count)).expand(repeats, -1, -1))
        meant.append(F.pad(asked, (0, count)))
    return torch.cat(drawn), torch.cat(boxes), torch.cat(meant)
