_base_ = '../datasets/voc20.py'

# 20 classes without background.
vocabulary = dict(dataset='voc20', protocol='ovseg')
# How much the regions count against the proposals' own classes.
ensemble = dict(weight=0.45)
