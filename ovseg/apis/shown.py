"""Results that show themselves as a picture, in notebooks and on the desktop."""

from __future__ import annotations

import io
from abc import abstractmethod

import numpy as np
from PIL import Image

from ovseg.result_files import png_mark


class ShownAsPicture:
    """Mixin: as the last line of a notebook cell the object is its overlay picture."""

    @abstractmethod
    def overlay(self) -> np.ndarray:
        """(H', W', 3) uint8 RGB."""

    def show(self) -> None:
        """Show the overlay: in the notebook cell, or in the desktop's picture viewer."""
        picture = Image.fromarray(self.overlay())
        try:
            shell = get_ipython()  # type: ignore[name-defined]  # IPython puts it there.
        except NameError:
            picture.show()
        else:
            from IPython.display import display

            if shell is not None:
                display(picture)

    def _repr_png_(self) -> bytes:
        """How notebooks show the object."""
        buffer = io.BytesIO()
        Image.fromarray(self.overlay()).save(buffer, format='PNG', pnginfo=png_mark('overlay'))
        return buffer.getvalue()
