"""DINO as a companion of CLIP: patch features of its last block, over timm's own modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import timm
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg.affinity.opened_blocks import open_block
from ovseg.downloads import fetch_url
from ovseg.encoders.position import ResizeRule, resize_position_embedding
from ovseg.encoders.published import check_published
from ovseg.encoders.timm_trunk import first_tokens, patch_map, position_table
from ovseg.errors import UserError
from ovseg.precision import as_summed_by, in_own_precision
from ovseg.weight_files import load_strictly, read_state_dict

Quantity = Literal['queries', 'keys', 'values', 'queries+keys', 'tokens']
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)
EMBEDDED_DINOS = ('tiny_dino_scenes',)
_HOST = 'https://dl.fbaipublicfiles.com/dino'
# Where configs name a file: in a teacher, or in the companion of ProxyCLIP and Trident.
_KEY = 'dino.pretrained (or companion.pretrained)'
# name of the published weights -> (timm architecture, address below _HOST)
PUBLISHED: dict[str, tuple[str, str]] = {
    name: (f'vit_{size}_patch{patch}_224', f'{file}/{file}.pth')
    for name, size, patch, file in (
        ('dino_vits16', 'small', 16, 'dino_deitsmall16_pretrain'),
        ('dino_vits8', 'small', 8, 'dino_deitsmall8_pretrain'),
        # The weights that FOUND was trained on; not those of torch.hub's dino_vits8.
        ('dino_vits8_300ep', 'small', 8, 'dino_deitsmall8_300ep_pretrain'),
        ('dino_vitb16', 'base', 16, 'dino_vitbase16_pretrain'),
        ('dino_vitb8', 'base', 8, 'dino_vitbase8_pretrain'),
    )
}


@dataclass(frozen=True)
class LoadedDINO:
    """A frozen DINO with what belongs to its weights.

    Attributes:
        model: timm's ``VisionTransformer`` (version 3: ``Eva``), in eval mode, without gradients.
        mean: pixel mean that the weights were trained with, RGB, in units of [0, 1].
        std: pixel standard deviation, likewise.
        weights: name, file name, ``'embedded'`` or ``'random'``.
        position_resize: see :func:`~ovseg.encoders.position.resize_position_embedding`.
    """

    model: VisionTransformer | Eva
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: str
    position_resize: ResizeRule = 'dino'


def load_dino(model: str | Mapping[str, Any], pretrained: str | Path | None = None) -> LoadedDINO:
    """Returns a DINO vision transformer with its weights.

    Args:
        model: a published name (``'dino_vitb16'``), an embedded model (``'tiny_dino_scenes'``), or
            the arguments of timm's ``VisionTransformer`` as a dict.
        pretrained: None for the weights that belong to the name, a file in DINO's format, or
            ``'random'``, which must be asked for by that name.

    Raises:
        UserError: unknown name, weights that do not fit, or no network for the download.
        FileNotFoundError: there is no such file.
    """
    if isinstance(model, str) and model in EMBEDDED_DINOS:
        if pretrained not in (None, 'embedded'):
            raise UserError(
                f"dino.pretrained of the embedded model '{model}' must be left out, "
                f"got '{pretrained}'"
            )
        from ovseg.encoders.tiny_dino import build_tiny_dino

        vit, mean, std = build_tiny_dino(model)
        return LoadedDINO(_frozen(vit), tuple(mean), tuple(std), 'embedded')
    vit = build_dino(model)
    mean, std = IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    if pretrained == 'random':
        return LoadedDINO(_frozen(vit), mean, std, 'random')
    if pretrained is None:
        if not isinstance(model, str):
            raise UserError(
                "dino.pretrained must name a file, or 'random', for a dino.model of yours"
            )
        pretrained = fetch_url(f'{_HOST}/{PUBLISHED[model][1]}', _KEY)
    load_strictly(vit, read_state_dict(pretrained), pretrained)
    return LoadedDINO(_frozen(vit), mean, std, Path(pretrained).name)


def build_dino(model: str | Mapping[str, Any]) -> VisionTransformer:
    """Returns a DINO vision transformer with random weights; its keys are the published ones.

    Args:
        model: see :func:`load_dino`.

    Raises:
        UserError: unknown name, or arguments that timm does not know.
    """
    if isinstance(model, str):
        check_published(model, PUBLISHED, 'dino.model', EMBEDDED_DINOS)
        vit = timm.create_model(PUBLISHED[model][0], pretrained=False, num_classes=0)
        return cast('VisionTransformer', vit)  # what timm makes of these names
    return timm_vit(model, 'dino.model')


def timm_vit(settings: Mapping[str, Any], key: str) -> VisionTransformer:
    """Returns a vision transformer of timm's without a classifier, with random weights.

    Args:
        settings: arguments of ``VisionTransformer``; its default epsilon, 1e-6, is DINO's.
        key: of the settings, for the message.

    Raises:
        UserError: arguments that timm does not know, or that do not go with each other.
    """
    try:
        return VisionTransformer(**{'num_classes': 0, **settings})
    except (TypeError, AssertionError) as error:
        raise UserError(f"{key} does not fit timm's VisionTransformer: {error}") from error


def _frozen(model: VisionTransformer) -> VisionTransformer:
    return model.eval().requires_grad_(False)


# Projections of the last attention that make a quantity; several are added.
_PROJECTIONS = {'queries': 'q', 'keys': 'k', 'values': 'v', 'queries+keys': 'qk'}


class DINOEncoder(nn.Module):
    """Patch maps of DINO: a projection of its last attention, or its final tokens.

    Args:
        dino: from :func:`load_dino` or :func:`~ovseg.encoders.dinov2.load_dinov2`. Its model is
            read, never written or hooked.

    Source: DINO (arXiv 2104.14294) and DINOv2 (arXiv 2304.07193); position embeddings as in their
    released code.
    """

    casts_products = True
    mean: Tensor
    std: Tensor

    def __init__(self, dino: LoadedDINO) -> None:
        super().__init__()
        self.vit = dino.model
        self.weights = dino.weights
        self.position_resize: ResizeRule = dino.position_resize
        self.stride = tuple(dino.model.patch_embed.patch_size)
        for name, value in (('mean', dino.mean), ('std', dino.std)):
            self.register_buffer(name, torch.tensor(value).view(1, 3, 1, 1), persistent=False)

    @in_own_precision
    def forward(self, image: Tensor, quantity: Quantity) -> Tensor:
        """Encodes images; nothing behind the wanted quantity is computed.

        Args:
            image: (B, 3, H, W) RGB in [0, 1]; black is added at the right and bottom up to a
                multiple of the patch.
            quantity: which projection, heads side by side; ``'queries+keys'`` is their sum
                (CorrCLIP), ``'tokens'`` what comes out of the last block and the final norm
                (ProxyCLIP, Trident).

        Returns:
            (B, C, h, w), not normalised; class and register tokens are dropped.
        """
        tokens, grid = self._tokens(image, quantity)
        return tokens[:, self.vit.num_prefix_tokens :].transpose(1, 2).unflatten(2, grid)

    @in_own_precision
    def all_tokens(self, image: Tensor, quantity: Quantity) -> Tensor:
        """The same of all tokens.

        Args:
            image: as in :meth:`forward`.
            quantity: likewise.

        Returns:
            (B, prefix + h*w, C): class token and registers first.
        """
        return self._tokens(image, quantity)[0]

    def _tokens(self, image: Tensor, quantity: Quantity) -> tuple[Tensor, tuple[int, int]]:
        tokens, grid = self._embed(image)
        given = self._given_to_blocks(grid)
        *earlier, last = self.vit.blocks
        for block in earlier:
            tokens = block(tokens, **given)
        if quantity == 'tokens':
            return self.vit.norm(last(tokens, **given)), grid
        return _projected(last, tokens, quantity), grid

    def _given_to_blocks(self, grid: tuple[int, int]) -> dict[str, Any]:
        """What blocks take beside the tokens; nothing in these models."""
        return {}

    def _embed(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Tokens entering the first block (B, prefix + h*w, C), and the grid."""
        bottom, right = (-image.shape[-2] % self.stride[0], -image.shape[-1] % self.stride[1])
        image = F.pad(image, (0, right, 0, bottom))
        patches = patch_map(self.vit, (image - self.mean) / self.std)
        grid = (patches.shape[2], patches.shape[3])
        patches = as_summed_by(self, patches.flatten(2).transpose(1, 2))
        return first_tokens(self.vit, patches, self._positions(grid)), grid

    def _positions(self, grid: tuple[int, int]) -> Tensor | None:
        table, prefix = position_table(self.vit)
        if table is None:
            return None
        trained = tuple(self.vit.patch_embed.grid_size)
        return resize_position_embedding(table, trained, grid, self.position_resize, prefix=prefix)


def _projected(block: nn.Module, tokens: Tensor, quantity: Quantity) -> Tensor:
    """A projection (B, N, C) of a block's attention, before what it does to queries and keys."""
    opened = open_block(block)
    pairs = [opened.projections[part] for part in _PROJECTIONS[quantity]]
    biases = [bias for _, bias in pairs if bias is not None]
    weight = _added([weight for weight, _ in pairs])
    return F.linear(opened.norm(tokens), weight, _added(biases) if biases else None)


def _added(tensors: list[Tensor]) -> Tensor:
    first, *others = tensors
    return sum(others, start=first)
