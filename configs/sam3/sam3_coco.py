# Classes that compete on one scale, after CoCo-SAM3's abstract: no code to compare with.
_base_ = ['../_base_/models/sam3.py', '../_base_/protocols/sam3.py']

model = dict(_base_.settings['segearth'], rule='coco')
