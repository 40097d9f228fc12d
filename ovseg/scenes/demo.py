"""The scene of the demo picture, arranged by hand."""

from __future__ import annotations

from ovseg.scenes.world import COLORS, MATERIALS, OBJECTS, Region, Scene, Thing

DEMO_ZOOM = 2.0
_PLAIN = (1.0, 1.0, 1.0)
# object, colour, center x, center y, diameter, angle
_ARRANGEMENT = (
    ('star', 'red', 56, 46, 62, 12),
    ('kite', 'purple', 128, 40, 66, -18),
    ('heart', 'pink', 206, 40, 58, -10),
    ('mushroom', 'orange', 40, 146, 70, 0),
    ('flower', 'yellow', 104, 128, 56, 20),
    ('ball', 'blue', 124, 164, 46, 30),
    ('fish', 'red', 212, 146, 70, 8),
)


def demo_scene() -> Scene:
    """Returns sky, grass, water and seven objects on a canvas of 256 x 192 pixels.

    The red star is a pair of object and colour that training never shows.

    Example:
        >>> len(demo_scene().things)
        7
    """
    colors = list(COLORS)
    sky, grass, water = (MATERIALS.index(name) for name in ('sky', 'grass', 'water'))
    regions = (
        Region(sky, (0.0, 1.0), -1000.0, 0.0, 0.0, 0.0, (130.0, 40.0), _PLAIN),
        Region(grass, (0.0, 1.0), 88.0, 4.0, 0.04, 0.6, (10.0, 70.0), _PLAIN),
        Region(water, (0.8, 0.6), 208.0, 6.0, 0.05, 1.0, (300.0, 20.0), _PLAIN),
        # The sky again, above the horizon: the water ends there.
        Region(sky, (0.0, -1.0), -88.0, -4.0, 0.04, 0.6, (130.0, 40.0), _PLAIN),
    )
    things = tuple(
        Thing(
            kind=OBJECTS.index(kind),
            color=colors.index(color),
            center=(float(x), float(y)),
            diameter=float(diameter),
            angle=float(angle),
            mirrored=False,
            tint=_PLAIN,
        )
        for kind, color, x, y, diameter, angle in _ARRANGEMENT
    )
    return Scene((192, 256), regions, things)
