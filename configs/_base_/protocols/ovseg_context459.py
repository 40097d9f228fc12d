_base_ = '../datasets/context459.py'

# 459 classes.
vocabulary = dict(dataset='context459', protocol='ovseg')
# How much the regions count against the proposals' own classes.
ensemble = dict(weight=0.6)
