"""Class names of benchmarks as people say them: split, in order, and of the sense that is meant.

Lists of data sets hold "trafficlight", "wall-brick" and "tie". A model that was trained on noun
phrases understands "traffic light", "brick wall" and "necktie".
"""

from __future__ import annotations

import re
from types import MappingProxyType

# Left: lower case, nothing but a-z and 0-9. All of ActiveSAM (arXiv 2606.16996), its release.
_SPLIT = (
    'traffic light|traffic sign|potted plant|tv monitor|window pane|coffee table|street light|'
    'sign board|arcade machine|kitchen island|dirt track|chest of drawers|television receiver|'
    'bed clothes|sports ball|baseball bat|baseball glove|tennis racket|wine glass|cell phone|'
    'hair drier|fire hydrant|stop sign|parking meter|dining table'
)
_ORDER = {
    'wall': 'brick|concrete|stone|tile|wood',
    'floor': 'marble|stone|tile|wood',
    'ceiling': 'tile',
}
_ADJECTIVES = {'wood': 'wooden'}
CANONICAL = MappingProxyType(
    {
        **{words.replace(' ', ''): words for words in _SPLIT.split('|')},
        **{
            f'{noun}{material}': f'{_ADJECTIVES.get(material, material)} {noun}'
            for noun, materials in _ORDER.items()
            for material in materials.split('|')
        },
        **{'wallpanel': 'wall panel', 'windowblind': 'window blind'},
        **{'conveyerbelt': 'conveyor belt', 'aeroplane': 'airplane', 'motorbike': 'motorcycle'},
        **{'tie': 'necktie', 'remote': 'remote control', 'mouse': 'computer mouse'},
        **{'monitor': 'computer monitor', 'ashcan': 'trash can', 'plaything': 'toy'},
        'buffet': 'sideboard',
    }
)


def canonical_words(name: str) -> str:
    """A class name as a noun phrase; as it is where the table has none.

    Args:
        name: compared in lower case, without all but letters and digits.

    Example:
        >>> canonical_words('Traffic-Light'), canonical_words('wall-brick'), canonical_words('car')
        ('traffic light', 'brick wall', 'car')
    """
    return CANONICAL.get(re.sub(r'[^a-z0-9]+', '', name.lower()), name)
