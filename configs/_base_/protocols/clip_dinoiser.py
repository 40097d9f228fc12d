# CLIP-DINOiser's published settings: shorter sides of 448 pixels on every data set.
_base_ = ['../datasets/{{$OVSEG_ON:voc20}}.py', '../default_runtime.py']

published = dict(
    voc20='clip_dinoiser',
    context59='clip_dinoiser',
    coco_stuff164k='clip_dinoiser',
    cityscapes='clip_dinoiser',
    ade20k='clip_dinoiser',
    voc21='clip_dinoiser',
    context60='clip_dinoiser',
    coco_object='clip_dinoiser',
    # Words of other methods for data sets that it was not published on.
    context459='ovseg',
    ade847='ovseg',
    images=None,
)
words_of, on_choices = published[_base_.on], list(published)
resize = dict(scale=(2048, 448), keep_ratio=True)
settings = {}
# The learned background (apply_found in the release) is on for VOC21 and COCO-Object only; with
# other images it acts where the words have a background class.
learned_background = {}
if _base_.on in ('voc21', 'coco_object', 'images'):
    learned_background['refiners'] = [
        dict(type='ScoreSoftmax'),
        dict(type='LearnedBackground', certainty=0.99),
    ]
if _base_.on != 'images':
    settings['vocabulary'] = dict(dataset=_base_.on, protocol=words_of)
    test_dataloader = dict(dataset=dict(resize=resize))
del published, words_of
