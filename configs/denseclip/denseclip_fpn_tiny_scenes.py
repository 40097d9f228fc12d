# The weights that ship with ovseg, without their text tower (tools/export.py denseclip).
_base_ = './denseclip_fpn_tiny_600_scenes-192x192.py'
model = dict(text_encoder=None)
load_from = 'ovseg://denseclip_tiny_scenes'
