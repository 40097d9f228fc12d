_base_ = '../datasets/ade20k.py'

# 150 classes.
vocabulary = dict(dataset='ade20k', protocol='ovseg')
# How much the regions count against the proposals' own classes.
ensemble = dict(weight=0.7)
