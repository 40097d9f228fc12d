"""Memory and time of SAM's correlation at 64 x 64 patches, in blocks and all at once.

    python benchmarks/sam_correlation_memory.py [--megabytes 1 6 64 256] [--threads 2]

SAM ViT-B with random weights sees one square image. Pooled by its correlation are 768 channels, as
in Trident with CLIP B/16, while SAM's own last attention is finished on the way. Each block size
runs twice, the second run counts; "plain" holds all heads' attentions, cosines and products, as the
formula stands.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.apis.profiling import MemoryPeak
from ovseg.encoders.sam import load_sam
from ovseg.encoders.sam_encoder import GlobalAttention, SAMEncoder
from ovseg.guides.sam_correlation import SAMCorrelation, aggregate

_CHANNELS = 768


def plain(attention: GlobalAttention, features: Tensor, settings: SAMCorrelation) -> Tensor:
    """Pooled features (1, D, g, g) from matrices that exist as a whole."""
    weights = attention.weights(slice(None))
    _ = weights @ attention.values  # SAM goes on with it
    units = F.normalize(attention.values, dim=-1)
    kept = torch.where(
        units @ units.transpose(1, 2) > settings.thresholds(units)[:, None], weights, 0.0
    ).mean(0)
    matrix = kept / kept.sum(1, keepdim=True)
    return (matrix @ features[0].flatten(1).T).T.unflatten(1, features.shape[2:])[None]


@torch.inference_mode()
def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints.

    Args:
        argv: instead of the command line's.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--megabytes', type=float, nargs='+', default=[1, 6, 64, 256])
    parser.add_argument('--threads', type=int, default=2)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    loaded = load_sam('vit_b', 'random')
    image = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    encoder = SAMEncoder(loaded)
    attention = encoder.last_attention(encoder.trunk(encoder.prepare(image)))
    features = torch.randn(1, _CHANNELS, 64, 64, generator=torch.Generator().manual_seed(0))
    settings = SAMCorrelation()

    def blocks(megabytes: float) -> Tensor:
        rows = SAMEncoder(loaded, megabytes).queries_at_once()
        return aggregate(attention, features, (64, 64), settings, rows, with_mixed=True).features

    wanted = None
    for name, megabytes in [('plain', None), *((f'{mb:g} MB', mb) for mb in args.megabytes)]:
        for _ in range(2):
            with MemoryPeak(torch.device('cpu')) as peak:
                start = time.perf_counter()
                if megabytes is None:
                    pooled = plain(attention, features, settings)
                else:
                    pooled = blocks(megabytes)
                seconds = time.perf_counter() - start
        wanted = pooled if wanted is None else wanted
        print(
            f'{name:8} peak {peak.bytes / 2**20:6.0f} MB  {seconds:5.2f} s  '
            f'largest difference {float((pooled - wanted).abs().max()):.1e}'
        )


if __name__ == '__main__':
    main()
