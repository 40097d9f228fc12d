_base_ = ['../_base_/models/sam3.py', '../_base_/protocols/sam3.py']

model = dict(**_base_.settings['activesam'])
