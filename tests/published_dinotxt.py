"""Files of dino.txt as published, of random weights."""

from __future__ import annotations

import torch


def published(model):
    """A model's head and text tower by the published names, and its backbone's own tensors."""
    head = {}
    for name, value in model.visual.head.state_dict().items():
        for ours, theirs in (('fc1_g', 'w1'), ('fc1_x', 'w2'), ('fc2', 'w3')):
            name = name.replace(f'mlp.{ours}.', f'mlp.{theirs}.')
        head['ln_final' + name[4:] if name.startswith('norm.') else name] = value
    text = {'head.linear_projection.weight': model.text.text_projection.T}
    names = {'ln_1': 'attention_norm', 'ln_2': 'ffn_norm', 'attn.out_proj': 'attention.proj'}
    names |= {'mlp.c_fc': 'feed_forward.fc1', 'mlp.c_proj': 'feed_forward.fc2'}
    names |= {'attn.in_proj_weight': 'attention.qkv.weight', 'transformer.resblocks': 'blocks'}
    for name, value in model.text.state_dict().items():
        if name in ('text_projection', 'attn_mask') or name.endswith('in_proj_bias'):
            continue
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        text[f'backbone.{name}'] = value
    return head, text


def write_version_2(model, folder):
    """The three files of a model of version 2; returns their paths by the loader's arguments."""
    head, text = published(model)
    backbone = dict(model.visual.backbone.state_dict())
    backbone['register_tokens'] = backbone.pop('reg_token')
    backbone['mask_token'] = torch.zeros(1, 16)
    # The published table has a position for the class token.
    table = backbone['pos_embed']
    backbone['pos_embed'] = torch.cat([torch.zeros_like(table[:, :1]), table], 1)
    head = {name.replace('blocks.', 'block_list.'): value for name, value in head.items()}
    files = {'pretrained': head, 'text': text, 'backbone': backbone}
    for name, state in files.items():
        torch.save(state, folder / f'{name}.pth')
    return {name: str(folder / f'{name}.pth') for name in files}


def version_3(model):
    """The one file of a model of version 3."""
    head, text = published(model)
    state = {f'visual_model.head.{name}': value for name, value in head.items()}
    state |= {f'text_model.{name}': value for name, value in text.items()}
    names = {'gamma_1': 'ls1.gamma', 'gamma_2': 'ls2.gamma', 'reg_token': 'storage_tokens'}
    vit = model.visual.backbone
    for name, value in vit.state_dict().items():
        if not name.endswith(('q_bias', 'v_bias')):
            front, _, end = name.rpartition('.')
            name = f'{front}.{names.get(end, end)}'.lstrip('.')
            state[f'visual_model.backbone.{name}'] = value
    for number, block in enumerate(vit.blocks):
        keys = torch.zeros_like(block.attn.q_bias)
        bias = torch.cat([block.attn.q_bias, keys, block.attn.v_bias])
        state[f'visual_model.backbone.blocks.{number}.attn.qkv.bias'] = bias
    return {**state, 'logit_scale': model.logit_scale.detach()[None]}
