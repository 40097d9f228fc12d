"""What a model and the metrics are told of an image whose things are told apart."""

meta_keys = (
    *('img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction'),
    *('img_id', 'stuff_labels', 'panoptic_truth'),
)
