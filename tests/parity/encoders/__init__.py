"""Parity with encoders of 2024 to 2026."""

from parity.encoders import radio, siglip
from parity.golden import GoldenSet

GOLDEN = GoldenSet(
    checks={
        'radio_v3.pt': radio.check_radio,
        'radio_v4.pt': radio.check_radio,
        'siglip_map.pt': siglip.check_siglip,
    },
)
