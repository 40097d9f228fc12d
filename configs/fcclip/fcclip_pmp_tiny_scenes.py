# The tiny FC-CLIP whose masks follow the words (PMP): each step asks for the classes of its scenes
# and three others.
_base_ = './fcclip_tiny_scenes.py'

model = dict(proposals=dict(text_guided=True), drawn_words=dict(absent_classes=3))
