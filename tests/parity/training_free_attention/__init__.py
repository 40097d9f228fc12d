"""Parity with SCLIP, NACLIP, ClearCLIP, ProxyCLIP and CorrCLIP."""

from parity.golden import GoldenSet
from parity.training_free_attention import corrclip, last_blocks, proxy_clip

GOLDEN = GoldenSet(
    checks={
        'weights.pt': last_blocks.check_weights,
        'sclip.pt': last_blocks.check_sclip,
        'naclip.pt': last_blocks.check_naclip,
        'clearclip.pt': last_blocks.check_clearclip,
        'proxyclip.pt': proxy_clip.check_proxy_clip,
        'corrclip_v1.pt': corrclip.check_version_1,
        'corrclip_v1_weights.pt': corrclip.check_weights,
        'corrclip_v2.pt': corrclip.check_version_2,
    },
    marks={'weights.pt': 'state_dict_clip'},
)
