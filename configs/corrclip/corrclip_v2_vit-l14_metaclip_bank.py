# With the bank of COCO's regions that its release has: data/memory_bank as downloaded.
_base_ = './corrclip_v2_vit-l14_metaclip.py'

model = dict(
    bank=dict(
        keys='data/memory_bank/vfm_embeddings/coco_radiov3.faiss',
        embeddings='data/memory_bank/clip_embeddings/coco_metaclip_l.pt',
        auxiliary='data/memory_bank/clip_embeddings/coco_dfnclip_b.pt',
    ),
    auxiliary_clip=dict(model='ViT-B-16-quickgelu', pretrained='dfn2b'),
)
