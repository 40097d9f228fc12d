"""FOUND: a 1x1 convolution on DINO's keys that tells objects from background."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ovseg.downloads import fetch_url
from ovseg.encoders.dino import DINOEncoder, load_dino
from ovseg.errors import UserError
from ovseg.weight_files import load_strictly, read_tensors, state_of
from ovseg.weight_files.places import SHIPPED

PUBLISHED_DECODER = 'https://github.com/valeoai/FOUND/raw/main/data/weights/decoder_weights.pt'
EMBEDDED_DECODERS = ('tiny_found_scenes',)


class FOUND(nn.Module):
    """Foreground logits from the keys of DINO's last attention.

    Args:
        dino: arguments of :func:`~ovseg.encoders.dino.load_dino`.
        decoder: None for the published weights, a file in their format, the name of an embedded
            decoder (``'tiny_found_scenes'``), or ``'random'``.

    Raises:
        UserError: weights that do not fit, or no network for the download.
        FileNotFoundError: there is no such file.

    Source: FOUND (arXiv 2212.07834) section 3.
    """

    def __init__(
        self, dino: Mapping[str, Any] | None = None, decoder: str | Path | None = None
    ) -> None:
        super().__init__()
        self.encoder = DINOEncoder(load_dino(**(dino or {'model': 'dino_vits8_300ep'})))
        self.decoder = nn.Conv2d(self.encoder.vit.embed_dim, 1, 1)
        if decoder != 'random':
            path = _locate(decoder)
            load_strictly(self.decoder, read_decoder(path), path)
        self.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of the foreground.

        Args:
            image: (B, 3, H, W) RGB in [0, 1].

        Returns:
            (B, 1, h, w) on DINO's patch grid.
        """
        return self.decoder(self.encoder(image, 'keys'))


def read_decoder(path: str | Path) -> dict[str, Tensor]:
    """Returns ``weight`` and ``bias`` of a decoder file.

    Args:
        path: ``{decoder: {weight, bias}}`` as published, or flat names ``decoder.weight``.

    Raises:
        UserError: the file holds something else.
        FileNotFoundError: there is no such file.
    """
    content = read_tensors(path)
    if isinstance(content, Mapping) and isinstance(content.get('decoder'), Mapping):
        state = state_of(content['decoder'], path)
    elif isinstance(content, Mapping) and 'decoder.weight' in content:
        state = {
            name.removeprefix('decoder.'): value for name, value in state_of(content, path).items()
        }
    else:
        raise UserError(
            f"{path} is no file of FOUND's decoder (decoder: weight, bias); give its "
            'decoder_weights.pt'
        )
    return {name: value.float() for name, value in state.items()}


def _locate(decoder: str | Path | None) -> str | Path:
    if decoder is None:
        return fetch_url(PUBLISHED_DECODER, 'found.decoder')
    if decoder in EMBEDDED_DECODERS:
        return f'{SHIPPED}{decoder}'
    return decoder
