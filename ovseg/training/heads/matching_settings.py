"""The settings of DenseCLIP's text side, which segmentors and detectors have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from ovseg.errors import UserError

Prompting = Literal['post', 'pre']


@dataclass(frozen=True)
class MatchingSettings:
    """What a model's config says of how images match words; its keys lie flat in ``model``.

    Attributes:
        text_encoder: config of a ``CLIPTextContextEncoder``; None for an exported model, which
            holds its text embeddings instead.
        context_decoder: config of a ``ContextDecoder``.
        context_length: N1, tokens of a name with start and end. The text tower's other positions,
            N2, are learned contexts.
        tau: temperature of the score map where it is trained.
        token_embed_dim: W, width of the text tower.
        text_dim: D of the text space.
        score_concat_index: level of the pyramid that the score map is concatenated to; its grid
            must be that of the dense embedding: 3 for ResNets (stride 32), 2 for a ViT of patch 16,
            1 for one of patch 8.
        prompting: ``'post'``: what the context decoder makes of the text embeddings and the image
            is added to them. ``'pre'``: what it makes of the contexts and the image stands in the
            contexts' place, so the text tower runs for each image.
        freeze_text_encoder: whether the text tower's parameters stay as they are, without
            gradients. False is the published behaviour: in segmentation a learning rate of 0 that
            the schedule's floor raises to 1e-6; in detection one of 0, whose gradients still count
            in the norm that gradients are clipped by.
        pretrained: CLIP's weights for backbone and text encoder, where these name none: a path, or
            arguments of :func:`~ovseg.encoders.load_clip`.

    Raises:
        UserError: settings that do not fit each other, with the config key.
    """

    text_encoder: Mapping[str, Any] | None
    context_decoder: Mapping[str, Any]
    context_length: int = 5
    tau: float = 0.07
    token_embed_dim: int = 512
    text_dim: int = 1024
    score_concat_index: int = 3
    prompting: Prompting = 'post'
    freeze_text_encoder: bool = True
    pretrained: str | Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.prompting not in get_args(Prompting):
            raise UserError(
                f'model.prompting must be one of {list(get_args(Prompting))}, '
                f"got '{self.prompting}'"
            )
        given = self.context_decoder.get('text_dim', self.decoded_dim)
        if given != self.decoded_dim:
            raise UserError(
                f'model.context_decoder.text_dim is {given}, but what it decodes has '
                f'{self.decoded_dim} channels; leave it out'
            )
        if self.text_encoder is None and self.prompting != 'post':
            raise UserError(
                "model.text_encoder is None, but with prompting='pre' the text tower runs for each "
                'image; keep it'
            )

    @classmethod
    def take(cls, arguments: Mapping[str, Any]) -> tuple[MatchingSettings, dict[str, Any]]:
        """The settings among a model's arguments, and the arguments that are none of them.

        Args:
            arguments: by name, flat.
        """
        names = {field.name for field in fields(cls)}
        own = {name: value for name, value in arguments.items() if name in names}
        return cls(**own), {name: arguments[name] for name in arguments if name not in names}

    @property
    def decoded_dim(self) -> int:
        """Channels of what the context decoder decodes: text embeddings or contexts."""
        return self.text_dim if self.prompting == 'post' else self.token_embed_dim

    def with_weights(self, part: Mapping[str, Any]) -> dict[str, Any]:
        """The config of a tower with CLIP's weights, where it names none.

        Args:
            part: config of the backbone or of the text encoder.
        """
        return dict(part) if self.pretrained is None else {'pretrained': self.pretrained, **part}
