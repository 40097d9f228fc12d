"""Colours by name: what colour words look like, and what things and materials look like.

All data: :mod:`ovseg.vocabulary.color_words` reads words by it. A thing stands here if nearly all
of its kind have one colour; cats, cars and walls come in many and do not.
"""

from __future__ import annotations

Color = tuple[int, int, int]

# What a word for a colour means, wherever it stands in a phrase: "red star", "person in red".
COLOR_WORDS: dict[str, Color] = {
    'red': (214, 34, 40),
    'crimson': (190, 20, 60),
    'scarlet': (236, 44, 30),
    'maroon': (122, 24, 40),
    'burgundy': (122, 24, 40),
    'orange': (245, 133, 24),
    'amber': (250, 180, 20),
    'yellow': (248, 216, 40),
    'gold': (218, 168, 38),
    'golden': (218, 168, 38),
    'green': (40, 160, 60),
    'lime green': (130, 205, 40),
    'olive green': (112, 122, 40),
    'olive': (112, 122, 40),
    'turquoise': (50, 200, 190),
    'teal': (20, 128, 128),
    'cyan': (30, 205, 225),
    'aqua': (30, 205, 225),
    'blue': (36, 84, 216),
    'sky blue': (120, 190, 240),
    'navy': (24, 40, 110),
    'navy blue': (24, 40, 110),
    'indigo': (70, 40, 150),
    'purple': (128, 50, 176),
    'violet': (142, 70, 214),
    'lilac': (196, 156, 220),
    'lavender': (186, 164, 232),
    'magenta': (220, 40, 180),
    'pink': (248, 130, 186),
    'brown': (126, 78, 40),
    'tan': (206, 174, 130),
    'beige': (226, 210, 176),
    'khaki': (186, 172, 116),
    'black': (44, 44, 48),
    'grey': (128, 132, 136),
    'gray': (128, 132, 136),
    'silver': (184, 190, 198),
    'white': (246, 247, 250),
}

# Words before a colour that make it lighter (above 0) or darker, in OKLab's lightness.
SHADE_WORDS: dict[str, float] = {
    'light': 0.14,
    'pale': 0.16,
    'bright': 0.08,
    'dark': -0.14,
    'deep': -0.1,
}

# What something is made of, or covered with, wherever it stands: "wooden floor", "wall-brick".
MATERIAL_WORDS: dict[str, Color] = {
    'wood': (150, 105, 60),
    'wooden': (150, 105, 60),
    'timber': (150, 105, 60),
    'bamboo': (178, 168, 84),
    'brick': (160, 80, 60),
    'terracotta': (196, 100, 70),
    'stone': (140, 130, 116),
    'marble': (222, 220, 216),
    'concrete': (160, 160, 156),
    'cement': (160, 160, 156),
    'asphalt': (84, 86, 92),
    'gravel': (150, 142, 130),
    'metal': (140, 150, 162),
    'metallic': (140, 150, 162),
    'steel': (140, 150, 162),
    'iron': (104, 106, 112),
    'rusty': (166, 84, 40),
    'copper': (184, 110, 60),
    'bronze': (150, 110, 50),
    'dirt': (134, 100, 66),
    'muddy': (112, 86, 60),
    'sandy': (226, 200, 140),
    'snowy': (235, 240, 250),
    'grassy': (86, 160, 50),
    'mossy': (96, 130, 50),
}

# What a thing looks like; it counts as the head of a phrase: "green grass", but no "water bottle".
# Names of several words count before their last word alone. What stands first here has the first
# choice of tones.
THING_COLORS: tuple[tuple[Color, str], ...] = (
    # Above us and below us.
    ((120, 190, 240), 'sky, heaven'),
    ((235, 240, 250), 'snow, snowfield, frost'),
    ((214, 224, 236), 'cloud'),
    ((24, 30, 72), 'night sky'),
    ((255, 206, 30), 'sun'),
    ((226, 226, 206), 'moon'),
    ((190, 196, 202), 'fog, mist, smoke, steam'),
    ((80, 170, 236), 'rain'),
    # Water, in another blue than the sky.
    ((14, 116, 158), 'water, sea, ocean, sea water, body of water'),
    ((56, 134, 178), 'river, lake, pond, stream, waterfall, canal'),
    ((40, 190, 206), 'swimming pool, pool'),
    ((186, 226, 242), 'ice, glacier, iceberg'),
    # Ground.
    ((86, 160, 50), 'grass, lawn, meadow, turf, pasture, grassland'),
    ((140, 166, 70), 'field'),
    ((226, 200, 140), 'sand, beach, dune, desert, sandbox, shore'),
    ((134, 100, 66), 'earth, soil, ground, dirt, path, trail, dirt track'),
    ((112, 86, 60), 'mud'),
    ((140, 130, 116), 'rock, stone, boulder, pebble, cliff'),
    ((108, 102, 142), 'mountain, hill'),
    ((84, 86, 92), 'road, street, asphalt, highway, roadway, tarmac, runway'),
    ((176, 168, 174), 'sidewalk, pavement, concrete, curb'),
    ((214, 40, 30), 'lava, magma'),
    # Plants.
    ((34, 104, 44), 'tree, palm, palm tree, pine, fir, forest, woods, woodland, jungle'),
    ((60, 128, 40), 'bush, shrub, hedge, plant, fern, vegetation, potted plant, foliage'),
    ((70, 170, 40), 'leaf, leaves, clover'),
    ((110, 142, 40), 'moss, cactus, algae'),
    ((222, 190, 100), 'hay, straw, wheat, corn'),
    ((248, 204, 20), 'sunflower, dandelion'),
    ((212, 40, 92), 'rose'),
    ((120, 82, 50), 'trunk, tree trunk, bark, log, branch, twig'),
    # Food.
    ((250, 222, 70), 'banana, lemon'),
    ((240, 120, 20), 'carrot, pumpkin, tangerine, mandarin'),
    ((220, 44, 34), 'tomato, strawberry, ketchup'),
    ((200, 20, 50), 'cherry, raspberry'),
    ((250, 160, 110), 'peach, apricot, salmon, shrimp'),
    ((60, 140, 50), 'broccoli, cucumber, lettuce, spinach, cabbage, avocado, pea'),
    ((150, 200, 50), 'lime, kiwi'),
    ((70, 80, 160), 'blueberry'),
    ((92, 40, 110), 'eggplant, aubergine, plum'),
    ((90, 54, 34), 'chocolate, coffee'),
    ((206, 150, 84), 'bread, toast, croissant, biscuit, cookie'),
    ((250, 248, 238), 'milk, rice, salt, sugar'),
    ((245, 200, 70), 'cheese, butter, mustard'),
    # Animals.
    ((136, 134, 142), 'elephant, rhinoceros, hippopotamus, dolphin, shark'),
    ((206, 160, 90), 'lion, camel, kangaroo'),
    ((222, 126, 30), 'tiger, fox, goldfish'),
    ((80, 170, 60), 'frog, crocodile, lizard'),
    ((248, 140, 160), 'flamingo, pig'),
    ((40, 40, 46), 'crow, raven, gorilla'),
    ((244, 244, 240), 'swan, polar bear'),
    ((212, 40, 36), 'ladybug, ladybird'),
    ((120, 78, 44), 'bear, deer, moose'),
    # Other things.
    ((255, 110, 20), 'fire, flame, campfire, traffic cone'),
    ((170, 20, 30), 'blood'),
    ((220, 38, 34), 'fire hydrant, fire truck, fire engine, fire extinguisher, stop sign'),
    ((250, 196, 30), 'school bus'),
    ((40, 60, 54), 'blackboard, chalkboard'),
    ((240, 242, 244), 'whiteboard'),
    ((104, 106, 112), 'iron, anvil'),
    ((90, 80, 74), 'railroad, railway'),
)
