"""Refiners: score maps in, better ones out.

On the patch grid a refiner is a :class:`~ovseg.refiners.grid.GridRefiner`, at the image's own size
a :class:`~ovseg.scores.pixel_refiner.PixelRefiner`. ``SAMPrompts`` reads decided labels and makes
new ones, by a SAM that has encoded the same image.
"""

from ovseg.refiners.grid import GridRefiner
from ovseg.refiners.key_smoothing import KeySmoothing, key_smoothing
from ovseg.refiners.learned_background import LearnedBackground, learned_background
from ovseg.refiners.pamr import PAMR
from ovseg.refiners.prompt_denoising import PromptDenoising, prompt_denoising
from ovseg.refiners.sam_prompts import SAMPrompts
from ovseg.refiners.score_softmax import ScoreSoftmax

__all__ = [
    'PAMR',
    'GridRefiner',
    'KeySmoothing',
    'LearnedBackground',
    'PromptDenoising',
    'SAMPrompts',
    'ScoreSoftmax',
    'key_smoothing',
    'learned_background',
    'prompt_denoising',
]
