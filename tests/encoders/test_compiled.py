"""The dense ViT encoder under torch's compilers, as docs/python_api.md tells it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ovseg import OpenVocabSegmenter


class Patches(nn.Module):
    """One tensor instead of ``DenseFeatures``."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, image):
        return self.encoder(image).patch


# Plain, and with the bias of neighbours that belongs to a grid.
@pytest.fixture(scope='module', params=['maskclip-tiny', 'configs/naclip/naclip_tiny.py'])
def encoder(request):
    return OpenVocabSegmenter(request.param, device='cpu').model.encoder


@torch.no_grad()
def test_compiled_traced_and_exported_it_gives_the_same(encoder):
    image = torch.rand(2, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    kept = len(encoder._positions)
    compiled = torch.compile(encoder, backend='eager', fullgraph=True)
    found = [compiled(image).patch, compiled(image[..., :24]).patch]
    exported = torch.export.export(Patches(encoder), (image,)).module()
    assert len(encoder._positions) == kept  # of what has no address nothing is kept
    traced = torch.jit.trace(Patches(encoder), image)
    with pytest.raises(RuntimeError, match='Tracer cannot infer type of DenseFeatures'):
        torch.jit.trace(encoder, image)
    wanted = encoder(image).patch
    torch.testing.assert_close(found, [wanted, encoder(image[..., :24]).patch])
    torch.testing.assert_close([exported(image), traced(image)], [wanted, wanted])
