_base_ = '../datasets/context59.py'

# 59 classes, in the order of the labels; OVSeg lists them in another.
vocabulary = dict(dataset='context59', protocol='ovseg', in_label_order=True)
# How much the regions count against the proposals' own classes.
ensemble = dict(weight=0.6)
