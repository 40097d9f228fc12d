# SAM 3 by transformers, its detector alone. Gated, under the SAM License (configs/sam3/README.md);
# a file or folder goes into sam3.pretrained, or --checkpoint.
model = dict(
    type='SAM3Segmentor',
    # 1e-5 is the authors' own; transformers' default is another one.
    sam3=dict(model='facebook/sam3', layer_norm_eps=1e-5),
    rule='segearth',
)
