"""SSD's colour distortion with a hue shift that is as wide to either side."""

from __future__ import annotations

import mmcv
import numpy as np
import numpy.typing as npt

from ovseg.compat.mmseg_datasets import PhotoMetricDistortion
from ovseg.registry import TRANSFORMS

# OpenCV's hue of 8 bits: half degrees.
_HUES = 180


@TRANSFORMS.register_module()
class SSDPhotoMetricDistortion(PhotoMetricDistortion):
    """mmseg's ``PhotoMetricDistortion``, whose hue shift includes its largest value.

    Brightness, contrast, saturation and hue each change with probability 0.5, contrast before or
    after the last two. mmseg draws hue shifts from -18 to 17, SSD and detectron2 from -18 to 18.

    Source: SSD (arXiv 1512.02325) section 2.2.
    """

    def hue(self, img: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Shifts the hue of an image (H, W, 3) BGR by chance."""
        if not np.random.randint(2):
            return img
        hsv = mmcv.bgr2hsv(img)
        shift = np.random.randint(-self.hue_delta, self.hue_delta + 1)
        hsv[..., 0] = (hsv[..., 0].astype(int) + shift) % _HUES
        return mmcv.hsv2bgr(hsv)
