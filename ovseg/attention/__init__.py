"""The last attention of a CLIP vision transformer, in the variants that dense methods use."""

from ovseg.attention.last_block import LAST_BLOCKS, LastBlockSpec, last_block_spec, run_block
from ovseg.attention.neighbours import neighbour_bias
from ovseg.attention.variants import ATTENTIONS, AttentionContext

__all__ = [
    'ATTENTIONS',
    'LAST_BLOCKS',
    'AttentionContext',
    'LastBlockSpec',
    'last_block_spec',
    'neighbour_bias',
    'run_block',
]
