"""Parity with encoders of 2024 to 2026."""

from parity.encoders import dinov3, radio
from parity.golden import GoldenSet

GOLDEN = GoldenSet(
    checks={
        'dinov3_vit.pt': dinov3.check_dinov3,
        'radio_v3.pt': radio.check_radio,
        'radio_v4.pt': radio.check_radio,
    },
)
