"""Images on their way to a network: batches, windows, and cutting them out."""

from ovseg.images.images import Images

__all__ = ['Images']
