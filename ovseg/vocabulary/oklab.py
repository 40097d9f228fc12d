"""OKLab, the colour space in which equal steps look equally large."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_CONES_OF_LINEAR = np.array(
    [
        [0.4122214708, 0.2119034982, 0.0883024619],
        [0.5363325363, 0.6806995451, 0.2817188376],
        [0.0514459929, 0.1073969566, 0.6299787005],
    ]
)
_OKLAB_OF_CONES = np.array(
    [
        [0.2104542553, 1.9779984951, 0.0259040371],
        [0.7936177850, -2.4285922050, 0.7827717662],
        [-0.0040720468, 0.4505937099, -0.8086757660],
    ]
)


def to_oklab(rgb: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """OKLab coordinates of sRGB colours.

    Args:
        rgb: (..., 3), in [0, 255].

    Returns:
        (..., 3): lightness in [0, 1]; from green to red, from blue to yellow, about -0.4 to 0.4.

    Source: B. Ottosson, "A perceptual color space for image processing" (the matrices).

    Example:
        >>> to_oklab((255, 255, 255)).round(3).tolist()[0]
        1.0
    """
    srgb = np.asarray(rgb, dtype=np.float64) / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ _CONES_OF_LINEAR) @ _OKLAB_OF_CONES


def color_distance(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """How different two sRGB colours look: 0 for equal ones, 1 from black to white.

    Args:
        first: (3,), in [0, 255].
        second: (3,), in [0, 255].

    Example:
        >>> round(color_distance((0, 0, 0), (255, 255, 255)), 2)
        1.0
    """
    return float(np.linalg.norm(to_oklab(first) - to_oklab(second)))
