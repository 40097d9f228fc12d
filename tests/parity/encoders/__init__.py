"""Parity with encoders of 2024 to 2026."""

from parity.encoders import dinotxt, dinov3, radio, radseg, siglip, tipsv2
from parity.golden import GoldenSet

GOLDEN = GoldenSet(
    checks={
        'dinotxt_v3.pt': dinotxt.check_dinotxt,
        'dinov3_vit.pt': dinov3.check_dinov3,
        'radio_v3.pt': radio.check_radio,
        'radio_v4.pt': radio.check_radio,
        'radseg.pt': radseg.check_radseg,
        'siglip_map.pt': siglip.check_siglip,
        'tipsv2_mlp.pt': tipsv2.check_tipsv2,
        'tipsv2_swiglu.pt': tipsv2.check_tipsv2,
    },
)
