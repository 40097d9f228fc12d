"""The last attention of a CLIP vision transformer, in the variants that dense methods use."""

from ovseg.affinity.last_block import LAST_BLOCKS, LastBlockSpec, last_block_spec, run_block
from ovseg.affinity.neighbours import neighbour_bias
from ovseg.affinity.variants import ATTENTIONS, AttentionContext

__all__ = [
    'ATTENTIONS',
    'LAST_BLOCKS',
    'AttentionContext',
    'LastBlockSpec',
    'last_block_spec',
    'neighbour_bias',
    'run_block',
]
