_base_ = '../datasets/ade847.py'

# 847 classes; images and labels are those that the preparation shrank to 512 pixels.
vocabulary = dict(dataset='ade847', protocol='ovseg')
# How much the regions count against the proposals' own classes.
ensemble = dict(weight=0.7)
