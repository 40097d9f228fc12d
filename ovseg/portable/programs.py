"""What is exported of a model: from pixels to features and scores, words given as rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from ovseg.encoders.position import OF_ANY_GRID
from ovseg.errors import UserError
from ovseg.guides.mixed_clip import MixedCLIPEncoder
from ovseg.segmentors.base import Segmentor
from ovseg.segmentors.trained import TrainedSegmentor
from ovseg.segmentors.training_free import TrainingFreeSegmentor

_SIZE = (512, 512)


class Program(nn.Module):
    """A part of a segmentor, from an image in pixel values.

    Args:
        model: the segmentor.
        size: (height, width) in pixels of the image for which it is written down.

    Attributes:
        inputs: names of what :meth:`forward` takes.
        outputs: names of what it gives.
        multiple: sides of images of any size are multiples of this, in pixels; None: images have
            ``size``.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    mean: Tensor
    std: Tensor

    multiple: int | None = None

    def __init__(self, model: Segmentor, size: tuple[int, int]) -> None:
        super().__init__()
        self.model, self.size = model, size
        # What mmseg's preprocessor does to pixels, so that nobody has to do it again.
        for name, none in (('mean', 0.0), ('std', 1.0)):
            value = getattr(model.data_preprocessor, name, torch.full((3, 1, 1), none))
            self.register_buffer(name, value.detach().reshape(1, 3, 1, 1).float(), persistent=False)

    def normalised(self, image: Tensor) -> Tensor:
        """Images (B, 3, H, W), RGB in 0 to 255, as the network takes them."""
        return (image - self.mean) / self.std

    def examples(self, size: tuple[int, int], rows: int) -> tuple[Tensor, ...]:
        """Arguments of :meth:`forward`: noise.

        Args:
            size: (height, width) of the image in pixels.
            rows: how many words there are, where these are an argument.
        """
        return (torch.rand(1, 3, *size) * 255,)

    def open_sizes(self) -> tuple[dict[int, Any], ...] | None:
        """Which sizes of the arguments are left open, as torch.export takes them."""
        return None

    def cases(self) -> list[tuple[Tensor, ...]]:
        """Arguments on which an exported program must agree with this one."""
        return [self.examples(self.size, 1)]


class OpenProgram(Program):
    """Dense features of a frozen model, and their cosines with any rows.

    The encoder and its guide, without what looks at more than one window or refines scores.
    """

    inputs = ('image', 'rows')
    outputs = ('features', 'scores')

    def __init__(self, model: TrainingFreeSegmentor, size: tuple[int, int] | None) -> None:
        patch = max(getattr(model.encoder, 'stride', (32, 32)))
        # Where a trained grid is a case of its own, a program is for one grid.
        is_open = getattr(model.encoder, 'position_resize', 'always') in OF_ANY_GRID
        if is_open and size is None:
            self.multiple = patch
            size = (3 * patch, 5 * patch)
        size = size or model.inference_settings.crop_size or _SIZE
        if any(side % patch for side in size):
            raise UserError(
                f'The sides of {size[0]} x {size[1]} pixels are no multiples of the patch, {patch}.'
            )
        super().__init__(model, size)

    def forward(self, image: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Unit features and scores.

        Args:
            image: (1, 3, H, W) float32, RGB in 0 to 255; H and W multiples of ``multiple``.
            rows: (P, D) float32, unit vectors of words.

        Returns:
            (1, D, h, w) unit vectors, and (1, P, h, w) cosines in [-1, 1].
        """
        features = self.features(self.normalised(image))
        return features, torch.einsum('pd,bdhw->bphw', rows, features)

    def features(self, inputs: Tensor) -> Tensor:
        """(B, D, h, w) unit features of normalised images (B, 3, H, W)."""
        model = self.model
        assert isinstance(model, TrainingFreeSegmentor)  # of the constructor
        needs = frozenset() if model.guide is None else model.guide.needs
        features = model.encoder(inputs, needs)
        if model.guide is not None:
            features = model.guided(features, inputs)
        patch = features.patch.float()
        return patch / patch.norm(dim=1, keepdim=True)

    @override
    def examples(self, size: tuple[int, int], rows: int) -> tuple[Tensor, ...]:
        assert isinstance(self.model, TrainingFreeSegmentor)  # of `program_of`
        words = torch.randn(rows, self.model.encoder.embed_dim)
        return (*super().examples(size, rows), nn.functional.normalize(words, dim=1))

    @override
    def open_sizes(self) -> tuple[dict[int, Any], ...]:
        rows = torch.export.Dim('rows', min=1, max=1 << 20)
        if self.multiple is None:
            return {}, {0: rows}
        height, width = (
            self.multiple * torch.export.Dim(name, min=2, max=4096) for name in ('_h', '_w')
        )
        return {2: height, 3: width}, {0: rows}

    @override
    def cases(self) -> list[tuple[Tensor, ...]]:
        sizes = [self.size]
        if self.multiple is not None:
            sides = ((4, 4), (8, 4), (2, 9))  # a trained grid among them, if it is as small
            sizes = [(self.multiple * height, self.multiple * width) for height, width in sides]
        return [self.examples(size, rows) for size in sizes for rows in (1, 2, 20)]


class TrainedProgram(Program):
    """A trained network with the classes of its training: a plain one, for images of one size.

    The heads of mmseg turn sizes into numbers while they are written down.
    """

    inputs = ('image',)
    outputs = ('scores',)

    def forward(self, image: Tensor) -> Tensor:
        """Scores of the classes.

        Args:
            image: (1, 3, H, W) float32, RGB in 0 to 255, of ``size``.

        Returns:
            (1, K, h, w), before a softmax.
        """
        assert isinstance(self.model, TrainedSegmentor)  # of `program_of`
        return self.model(self.normalised(image), mode='tensor').float()


def program_of(model: Segmentor, name: str, size: tuple[int, int] | None = None) -> Program:
    """What is exported of a model.

    Args:
        model: that is loaded.
        name: what it is called, for messages.
        size: (height, width) in pixels of images, for programs of one size; None for any size, or,
            where the model knows no other way, for its windows, or else 512 x 512.

    Raises:
        UserError: a kind of model that looks at an image in more than one way.
    """
    if isinstance(model, TrainedSegmentor):
        return TrainedProgram(model, size or model.inference_settings.crop_size or _SIZE).eval()
    # Methods that bring their own way through an image, or mix two networks, are no single one.
    if (
        isinstance(model, TrainingFreeSegmentor)
        and type(model).encode is TrainingFreeSegmentor.encode
        and not isinstance(model.encoder, MixedCLIPEncoder)
    ):
        return OpenProgram(model, size).eval()
    raise UserError(
        f'{name} joins several networks and looks at an image in parts, which is no program for '
        'another runtime: export one with a single encoder, such as maskclip-vit-b16 or '
        'clip-dinoiser-vit-b16.'
    )


def left_out(model: Segmentor) -> list[str]:
    """What a model does to scores that its program does not.

    Args:
        model: as in :func:`program_of`.
    """
    if not isinstance(model, TrainingFreeSegmentor):
        return []
    last = [] if model.pixel_refiner is None else [model.pixel_refiner]
    return [str(refiner) for refiner in (*model.refiners, *last)]
