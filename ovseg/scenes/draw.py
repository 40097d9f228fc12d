"""Draws a scene, or the part of it that a camera sees, with its pixel labels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ovseg.scenes.sprites import SPRITE, sprite
from ovseg.scenes.textures import texture
from ovseg.scenes.world import MATERIALS, Region, Scene, Thing


@dataclass(frozen=True)
class Camera:
    """The part of a scene that is drawn, in pixels of the canvas.

    Attributes:
        left: x of the left edge.
        top: y of the upper edge.
        size: (height, width) of the picture in pixels.
        zoom: pixels of the picture for each pixel of the canvas.
    """

    left: float
    top: float
    size: tuple[int, int]
    zoom: float


@dataclass(frozen=True)
class Picture:
    """A drawn view and what is where in it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        owner: (H, W) uint8, which part of the scene a pixel shows: a material's index, or
            ``len(MATERIALS)`` plus the position in ``scene.things``.
    """

    image: np.ndarray
    owner: np.ndarray


def whole(scene: Scene, zoom: float = 1.0) -> Camera:
    """Returns the camera that sees all of a scene."""
    height, width = scene.size
    return Camera(0.0, 0.0, (round(height * zoom), round(width * zoom)), zoom)


def draw(scene: Scene, camera: Camera | None = None) -> Picture:
    """Draws what a camera sees of a scene.

    Colours are antialiased, labels are crisp: a pixel belongs to an object that covers at least
    half of it.

    Args:
        scene: what there is.
        camera: which part, how large; the whole scene by default.
    """
    camera = camera or whole(scene)
    height, width = camera.size
    x = camera.left + (np.arange(width, dtype=np.float32) + 0.5) / camera.zoom
    y = camera.top + (np.arange(height, dtype=np.float32) + 0.5) / camera.zoom
    owner = np.full((height, width), scene.regions[0].material, np.uint8)
    image = _textured(scene.regions[0], camera)
    for region in scene.regions[1:]:
        inside = _inside(region, x, y)
        if inside.any():
            cv2.copyTo(_textured(region, camera), inside, image)
            owner[inside > 0] = region.material
    for number, thing in enumerate(scene.things):
        _stamp(image, owner, thing, len(MATERIALS) + number, camera)
    return Picture(image, owner)


def _inside(region: Region, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(H, W) uint8, 255 where the region is."""
    normal_x, normal_y = region.normal
    # The wave runs along the axis that the line follows more closely.
    if abs(normal_y) > abs(normal_x):
        along = normal_x * x + region.wave * np.sin(region.frequency * x + region.phase)
        across = normal_y * y
    else:
        along = normal_x * x
        across = normal_y * y + region.wave * np.sin(region.frequency * y + region.phase)
    inside = along[None, :] + across[:, None] > region.offset
    return inside.view(np.uint8) * np.uint8(255)


def _textured(region: Region, camera: Camera) -> np.ndarray:
    """(H, W, 3) uint8, the region's material over the whole picture."""
    halvings = int(np.clip(np.floor(-np.log2(camera.zoom) + 0.3), 0, 3))
    tile = texture(region.material, halvings)
    shrink = 2.0**-halvings
    scale = shrink / camera.zoom
    shift = [
        shrink * (edge + offset) + 0.5 * scale - 0.5
        for edge, offset in zip((camera.left, camera.top), region.texture_shift, strict=True)
    ]
    rows = [[scale, 0, shift[0] % len(tile)], [0, scale, shift[1] % len(tile)]]
    matrix = np.array(rows, np.float32)
    height, width = camera.size
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    image = cv2.warpAffine(tile, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_WRAP)
    return cv2.multiply(image, np.array((*region.tint, 1.0)))


def _stamp(image: np.ndarray, owner: np.ndarray, thing: Thing, number: int, camera: Camera) -> None:
    """Draws one object over `image` and `owner`."""
    pixels = thing.diameter * camera.zoom
    center_x = (thing.center[0] - camera.left) * camera.zoom
    center_y = (thing.center[1] - camera.top) * camera.zoom
    reach = 0.72 * pixels + 1
    height, width = camera.size
    left, right = max(0, int(center_x - reach)), min(width, int(center_x + reach) + 1)
    top, bottom = max(0, int(center_y - reach)), min(height, int(center_y + reach) + 1)
    if left >= right or top >= bottom:
        return
    halvings = int(np.clip(np.floor(np.log2(SPRITE / pixels) + 0.3), 0, 4))
    source = sprite(thing.kind, thing.color, halvings)
    # From picture pixels to sprite pixels.
    scale = len(source) / pixels
    turn = np.deg2rad(thing.angle)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    if thing.mirrored:
        matrix[0] *= -1
    middle = (len(source) - 1) / 2
    shift = middle - matrix @ (center_x - 0.5 - left, center_y - 0.5 - top)
    warped = cv2.warpAffine(
        source,
        np.column_stack([matrix, shift]).astype(np.float32),
        (right - left, bottom - top),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
    alpha = warped[..., 3]
    covered = alpha > 127
    patch = image[top:bottom, left:right]
    paint = cv2.multiply(warped, np.array((*thing.tint, 1.0)))[..., :3]
    behind = cv2.multiply(patch, cv2.merge([255 - alpha] * 3), scale=1 / 255)
    cv2.add(behind, paint, dst=behind)
    patch[:] = behind
    owner[top:bottom, left:right][covered] = number
