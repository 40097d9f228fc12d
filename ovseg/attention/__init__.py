"""The last attention of a CLIP vision transformer, in the variants that dense methods use."""

from ovseg.attention.last_block import LAST_BLOCKS, LastBlockSpec, last_block_spec, run_block
from ovseg.attention.variants import ATTENTIONS

__all__ = ['ATTENTIONS', 'LAST_BLOCKS', 'LastBlockSpec', 'last_block_spec', 'run_block']
