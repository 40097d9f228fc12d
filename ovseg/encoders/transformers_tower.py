"""Vision towers of transformers, taken apart around their layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.affinity.opened_blocks import Rotation
from ovseg.encoders.position import ResizeRule
from ovseg.errors import UserError
from ovseg.precision import dtype_of

# How transformers' own code resizes positions, by the models whose tables are no bicubic ones.
_RULES: dict[str, ResizeRule] = {'Tipsv2VisionModel': 'antialias_bilinear'}


class HubVision(nn.Module):
    """A vision tower of transformers, and the projection that its model has beside it.

    Args:
        vision: ``CLIPVisionModel``, ``SiglipVisionModel``, ``Tipsv2VisionModel`` or
            ``DINOv3ViTModel``.
        projection: into the text space, or None where the tower ends in it.
    """

    def __init__(self, vision: nn.Module, projection: nn.Module | None = None) -> None:
        super().__init__()
        self.vision = vision
        self.projection = projection

    def open_tower(self) -> TransformersTower:
        """See :class:`~ovseg.encoders.towers.OpensItself`."""
        return TransformersTower(self)

    def forward(self, image: Tensor) -> Tensor:
        """The model's own embeddings (B, D) of images (B, 3, H, W) of any size, normalised."""
        takes_any = type(self.vision).__name__ in ('CLIPVisionModel', 'SiglipVisionModel')
        settings = {'interpolate_pos_encoding': True} if takes_any else {}
        pooled = self.vision(image, **settings).pooler_output
        return pooled if self.projection is None else self.projection(pooled)


class TransformersTower:
    """A :class:`HubVision`, see :class:`~ovseg.encoders.towers.Tower`.

    SigLIP's head is one learned query that attends to all tokens; a patch's place in the text space
    is what it gives for this patch alone, as in :class:`~ovseg.encoders.timm_tower.TimmTower`.

    Args:
        visual: read, never written.

    Raises:
        UserError: another model, or a SigLIP without its head.
    """

    def __init__(self, visual: HubVision) -> None:
        name = type(visual.vision).__name__
        if name not in _TOWERS:
            raise UserError(
                f'a vision tower of type {name} cannot be opened; of transformers ovseg opens '
                f'{", ".join(_TOWERS)}'
            )
        self._layers, self._final = _TOWERS[name]
        self._vision: Any = visual.vision
        self._projection = nn.Identity() if visual.projection is None else visual.projection
        self._embeddings: Any = self._vision.embeddings
        self._is_pooled_by_attention = name == 'SiglipVisionModel'
        if self._is_pooled_by_attention and not self._vision.use_head:
            raise UserError(
                'this SigLIP has no head (vision_use_head is False), so its patches have no place '
                'in the text space; choose another one'
            )

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        return list(self._layers(self._vision))

    @property
    def patch(self) -> tuple[int, int]:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        height, width = self._cutter.stride
        return height, width

    @property
    def trained_grid(self) -> tuple[int, int]:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        size = self._vision.config.image_size
        height, width = size if isinstance(size, Sequence) else (size, size)
        return height // self.patch[0], width // self.patch[1]

    @property
    def prefix(self) -> int:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        return sum(token.shape[1] for token in self._prefix())

    @property
    def embed_dim(self) -> int:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        last = self._projection
        return last.out_features if isinstance(last, nn.Linear) else self._cutter.out_channels

    @property
    def position_rule(self) -> ResizeRule:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        return _RULES.get(type(self._vision).__name__, 'always')

    def patches(self, image: Tensor) -> Tensor:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        return self._cutter(image.to(dtype_of(self._cutter)))

    def positions(self) -> tuple[Tensor | None, int]:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        embeddings = self._embeddings
        if hasattr(embeddings, 'position_embedding'):  # CLIP and SigLIP
            return embeddings.position_embedding.weight, self.prefix
        if hasattr(embeddings, 'position_embeddings'):  # TIPSv2, none for its second class token
            return embeddings.position_embeddings[0], 1
        return None, 0

    def assemble(self, patches: Tensor, positions: Tensor | None) -> Tensor:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        prefix = [token.to(patches.dtype) for token in self._prefix()]
        if positions is not None:
            rows = len(positions) - patches.shape[1]
            patches = patches + positions[rows:]
            if rows:
                prefix[0] = prefix[0] + positions[:rows]
        tokens = torch.cat([*(t.expand(len(patches), -1, -1) for t in prefix), patches], dim=1)
        before = getattr(self._vision, 'pre_layrnorm', None)  # so spelled there
        return tokens if before is None else before(tokens)

    def rotation(self, grid: tuple[int, int]) -> Rotation | None:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        rope = getattr(self._vision, 'rope_embeddings', None)
        if rope is None:
            return None
        size = tuple(side * patch for side, patch in zip(grid, self.patch, strict=True))
        return rope(torch.empty(1, 3, *size, device=rope.inv_freq.device))

    def norm(self, tokens: Tensor) -> Tensor:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        norm = self._final(self._vision)
        return norm(tokens.to(norm.weight.dtype))

    def project(self, normed: Tensor) -> Tensor:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        tokens = normed.movedim(1, -1)
        if self._is_pooled_by_attention:
            tokens = _pooled_alone(self._vision.head, tokens)
        return self._projection(tokens.to(dtype_of(self._vision))).movedim(-1, 1)

    def pool(self, tokens: Tensor) -> Tensor:
        """See :class:`~ovseg.encoders.towers.Tower`."""
        normed = self.norm(tokens)
        pooled = self._vision.head(normed) if self._is_pooled_by_attention else normed[:, 0]
        return self._projection(pooled)

    @property
    def _cutter(self) -> nn.Conv2d:
        """The convolution that embeds patches."""
        found = next(part for part in self._embeddings.modules() if isinstance(part, nn.Conv2d))
        return found

    def _prefix(self) -> list[Tensor]:
        """Class and register tokens, (1, n, C) each."""
        embeddings = self._embeddings
        if hasattr(embeddings, 'class_embedding'):
            return [embeddings.class_embedding[None, None]]
        names = ('cls_token', 'register_tokens')
        return [getattr(embeddings, name) for name in names if hasattr(embeddings, name)]


# Name of the model -> where its layers are, and its last norm.
_TOWERS: dict[str, tuple[Callable[[Any], nn.ModuleList], Callable[[Any], nn.LayerNorm]]] = {
    'CLIPVisionModel': (lambda m: m.encoder.layers, lambda m: m.post_layernorm),
    'SiglipVisionModel': (lambda m: m.encoder.layers, lambda m: m.post_layernorm),
    'Tipsv2VisionModel': (lambda m: m.encoder.layer, lambda m: m.layernorm),
    'DINOv3ViTModel': (lambda m: m.model.layer, lambda m: m.norm),
}


def _pooled_alone(head: Any, tokens: Tensor) -> Tensor:
    """What SigLIP's head gives for each of tokens (..., C) by itself."""
    attention = head.attention
    weight, bias = attention.in_proj_weight.chunk(3)[2], attention.in_proj_bias.chunk(3)[2]
    out = attention.out_proj(F.linear(tokens.to(weight.dtype), weight, bias))
    return out + head.mlp(head.layernorm(out))
