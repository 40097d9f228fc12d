"""Evaluate a model on the data of its config.

Examples::

    %(prog)s maskclip-tiny
    %(prog)s configs/maskclip/maskclip_vit-b16_openai.py --on ade20k
    %(prog)s denseclip_fpn_r50 iter_80000.pth --out label_maps --quiet
    %(prog)s maskclip-tiny --suite none --suite-images 40
    torchrun --nproc-per-node 8 -m ovseg test CONFIG --launcher pytorch

The scores are printed beside the protocol that they belong to, and stand in result.json in the
run's folder, for programs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovseg.cli.parsers import add_compile, add_rejection, new_parser
from ovseg.cli.test_suite import add_suite_arguments, suite_data, suite_loop
from ovseg.consoles import quiet
from ovseg.errors import UserError
from ovseg.files import check_apart, check_folder, write_beside
from ovseg.input_files import check_named
from ovseg.run_arguments import add_common_arguments, check_amp, place_of_run

# Words are read, and refused, before torch is imported: the functions import what they need.
if TYPE_CHECKING:
    from mmengine.config import Config, ConfigDict

    from ovseg.engine.runner import OVRunner
    from ovseg.evaluation import IoUReport, PanopticReport

# What a test does without; a config with one half of such a group is an error for mmengine.
_NOT_FOR_TESTING = (
    'train_dataloader',
    'train_cfg',
    'optim_wrapper',
    'param_scheduler',
    'val_dataloader',
    'val_cfg',
    'val_evaluator',
)
# Metrics that save what they compare.
_SAVERS = ('OVIoUMetric', 'IoUMetric', 'PanopticQualityMetric')
# Metrics of segments, which test-time augmentation does not merge.
_OF_SEGMENTS = ('PanopticQualityMetric', 'MaskAPMetric')


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The command line.

    Args:
        prog: how it is called.
    """
    parser = new_parser(__doc__, prog)
    parser.add_argument('config', help='config file: a path, or its name below configs/')
    parser.add_argument(
        'checkpoint', nargs='?', help='weights; methods without training of their own have none'
    )
    parser.add_argument(
        '--out', metavar='DIR', help='save predicted label maps, or segments, (PNG) here'
    )
    parser.add_argument('--show', action='store_true', help='show each prediction in a window')
    parser.add_argument('--show-dir', metavar='DIR', help='save painted predictions here')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds for --show')
    parser.add_argument('--tta', action='store_true', help='average over sizes and mirror images')
    add_common_arguments(parser)
    add_compile(parser, 'compile the image encoders')
    add_rejection(parser)
    add_suite_arguments(parser)
    return parser


def check_words(args: argparse.Namespace) -> None:
    """Stops at what can be refused before mmseg is imported, which takes seconds.

    Args:
        args: the command line.

    Raises:
        FileNotFoundError: no such config or checkpoint.
        UserError: folders that cannot be written to, or are one; no GPU for --amp.
    """
    place_of_run(args.config, args.on)
    check_named(args.checkpoint)
    check_apart([('--out', args.out), ('--show-dir', args.show_dir)])
    for folder in (args.work_dir, args.out, args.show_dir):
        if folder is not None:
            check_folder(folder)
    check_amp(args)


def check_weights(config: Config) -> None:
    """Stops if the method needs a checkpoint and none was given.

    Args:
        config: with ``load_from`` set to what was given.

    Raises:
        UserError: the model would be tested with random weights.
    """
    from ovseg.apis.building import model_kind
    from ovseg.segmentors import Segmentor

    kind = model_kind(config.model)
    if kind is None:
        return  # the Runner tells that there is no such model
    checkpoint = config.get('load_from')
    if not issubclass(kind, Segmentor):
        is_missing = not checkpoint
    elif checkpoint:
        config.load_from = kind.place_checkpoint(config.model, checkpoint)
        is_missing = False
    else:
        is_missing = kind.needs_checkpoint(config.model)
    if is_missing:
        raise UserError(
            f'{config.model.type} needs trained weights and none were given; add the checkpoint '
            'after the config: CONFIG CHECKPOINT'
        )


def set_tta(config: Config) -> dict[str, str]:
    """Wraps the model for test-time augmentation and returns what the protocol says about it.

    Args:
        config: changed in place.

    Raises:
        UserError: ``tta_ratios`` of the config are no sizes, or a detector has no settings for how
            its predictions are merged.
    """
    from mmengine.config import ConfigDict

    from ovseg.engine.tta import RATIOS, augmented_pipeline
    from ovseg.evaluation.protocol import resize_of

    dataset = config.test_dataloader.dataset
    if _detects(config) and not (config.get('tta_pipeline') and config.get('tta_model')):
        raise UserError(
            f'--tta averages label maps, which a detector does not make; set tta_pipeline and '
            f'tta_model (mmdet.DetTTAModel) in {config.filename}'
        )
    if any(metric.get('type') in _OF_SEGMENTS for metric in _metrics_of(config)):
        raise UserError('--tta averages label maps; segments of several views are not merged')
    if config.get('tta_pipeline') is not None:
        pipeline = config.tta_pipeline
        facts = {'augmentation': 'tta_pipeline of the config', 'resize': 'see augmentation'}
    else:
        ratios, flip = config.get('tta_ratios', RATIOS), config.get('tta_flip', True)
        _check_ratios(ratios)
        pipeline = augmented_pipeline(
            dataset.pipeline,
            dataset.get('resize'),
            ratios,
            keep_original=dataset.pop('keep_original', False),
            flip=flip,
        )
        sizes = ', '.join(str(ratio) for ratio in ratios)
        words = f'mean of probabilities over sizes {sizes}{" and mirror images" if flip else ""}'
        facts = {'augmentation': words, 'resize': resize_of(dataset)}
    dataset.pipeline = pipeline
    if 'resize' in dataset:
        dataset.resize = None
    wrapper = ConfigDict(config.get('tta_model') or {'type': 'OVSegTTA'})
    wrapper.module = config.model
    config.model = wrapper
    return facts


def set_rejection(config: Config, rule: str | None) -> None:
    """Gives the model's words another rejection rule.

    Args:
        config: changed in place.
        rule: as ``--rejection`` takes it; None changes nothing.

    Raises:
        UserError: it says no rule; the config's model has no words of its own.
    """
    from ovseg.scenes.known_words import other_things
    from ovseg.scenes.small_world import prompts_of
    from ovseg.vocabulary import Rejection, build_vocabulary
    from ovseg.zoo.worlds import SCENES, world_of

    rejection = Rejection.build(rule)
    if rejection is None:
        return
    words = config.model.get('vocabulary')
    if words is None:
        raise UserError(
            f'--rejection is a rule for words, and model.vocabulary of {config.filename} has none'
        )
    if rejection.contrast == 'auto' and world_of(config, config.get('load_from')) == SCENES:
        # Of the lexicon of photographs a model of a small world knows next to nothing.
        asked = prompts_of(build_vocabulary(words, Rejection('none')))
        other = tuple(other_things(asked))
        if not other:
            raise UserError(
                '--rejection contrast=auto: all that there is in Scenes is asked for, so no word '
                'stands for "none of these"; leave it out, or leave classes out'
            )
        rejection = replace(rejection, kind='background', contrast='', words=other)
    if 'protocol' in words and 'dataset' in words:
        words.rejection = rejection.to_dict()
    else:
        config.model.vocabulary = json.loads(build_vocabulary(words, rejection).to_json())


def _metrics_of(config: Config) -> list[ConfigDict]:
    evaluators = config.test_evaluator
    return evaluators if isinstance(evaluators, list) else [evaluators]


def _detects(config: Config) -> bool:
    """Whether what is evaluated are detections, not label maps."""
    return any(str(metric.get('type')).endswith('CocoMetric') for metric in _metrics_of(config))


def _check_ratios(ratios: Any) -> None:
    is_list = isinstance(ratios, (list, tuple)) and len(ratios) > 0
    if not is_list or not all(isinstance(r, (int, float)) and r > 0 for r in ratios):
        raise UserError(
            f'tta_ratios must be a list of sizes relative to the protocol, such as [0.5, 1.0], '
            f'got {ratios!r}'
        )


def set_precision(config: Config, args: argparse.Namespace) -> dict[str, str]:
    """Has the model tested in the precision asked for; returns what only we can say about it.

    Args:
        config: changed in place; its model not wrapped yet.
        args: the command line.

    Raises:
        UserError: the device has no such precision, or a model of another package was to be tested
            in another one than float16.
    """
    from ovseg.apis.building import model_kind
    from ovseg.engine.launch import asked_precision
    from ovseg.segmentors import Segmentor

    name = str(asked_precision(args)).removeprefix('torch.')
    asked = 'float16' if args.amp else args.precision
    kind = model_kind(config.model)
    is_ours = kind is None or issubclass(kind, Segmentor)  # of none the Runner tells
    if name == 'float32' or (asked == 'auto' and not is_ours):
        return {}
    if is_ours:
        hook = {'type': 'PrecisionHook', 'precision': asked}
        config.custom_hooks = [*(config.get('custom_hooks') or []), hook]
        return {}
    if name != 'float16':
        raise UserError(
            f"{config.model.type} is no segmentor of ovseg's, so it is tested in float32 or, on a "
            f'GPU, in float16, not in {name}'
        )
    config.test_cfg.fp16 = True
    return {'precision': 'float16 (autocast)'}


def set_outputs(config: Config, args: argparse.Namespace) -> None:
    """Lets the run save label maps and painted pictures.

    Args:
        config: changed in place.
        args: the command line.

    Raises:
        UserError: no evaluator of the config can save label maps.
    """
    if args.out is not None:
        savers = [metric for metric in _metrics_of(config) if metric.get('type') in _SAVERS]
        if not savers:
            raise UserError(
                f'--out needs OVIoUMetric or PanopticQualityMetric as test_evaluator in '
                f'{config.filename}'
            )
        savers[0].output_dir = args.out
    if args.show or args.show_dir is not None:
        hook = {'show': args.show, 'wait_time': args.wait_time}
        if _detects(config):
            hook.update(type='mmdet.DetVisualizationHook', draw=True)
            # A relative one would be taken as below the folder of the run.
            hook['test_out_dir'] = args.show_dir and str(Path(args.show_dir).absolute())
        else:
            hook.update(type='OverlayHook', folder=args.show_dir)
        config.custom_hooks = [*(config.get('custom_hooks') or []), hook]


def doubt_strangers(config: Config, args: argparse.Namespace) -> None:
    """Lets a model of a small world say which words and pictures of the data it cannot know.

    Args:
        config: changed in place.
        args: the command line.
    """
    from ovseg.zoo.worlds import SCENES, world_of

    if world_of(config, args.checkpoint) == SCENES:
        hook = {'type': 'SmallWorldHook', 'model': Path(args.config).stem}
        config.custom_hooks = [*(config.get('custom_hooks') or []), hook]


def report_result(
    runner: OVRunner, metrics: dict[str, Any], args: argparse.Namespace, facts: dict[str, str]
) -> None:
    """Prints scores beside their protocol and writes ``result.json`` into the run's folder.

    Args:
        runner: after its test.
        metrics: what the evaluator returned.
        args: the command line.
        facts: arguments of :meth:`EvaluationProtocol.describe` that only the command line knows.
    """
    from ovseg.evaluation import AveragePrecisionReport, EvaluationProtocol

    used = runner.test_evaluator.metrics
    reports = [getattr(metric, 'report', None) for metric in used]
    compared = [kind for metric in used for kind in getattr(metric, 'metrics', ())]
    report: IoUReport | PanopticReport | AveragePrecisionReport | None = next(
        (found for found in reports if found is not None),
        AveragePrecisionReport.from_metrics(metrics, compared),
    )
    protocol = EvaluationProtocol.describe(
        runner.segmentor,
        runner.test_dataloader.dataset,
        headline=report.headline if report else 'mIoU',
        checkpoint=runner.cfg.get('load_from'),
        **facts,
    )
    result = {
        'config': str(runner.cfg.filename),
        'protocol': protocol.to_dict(),
        **(report.to_dict() if report else {}),
    }
    result['metrics'] = _all_scores(result.get('metrics') or {}, metrics, used)
    text = json.dumps(result, indent=2, ensure_ascii=False, default=str)
    path = write_beside(Path(runner.log_dir) / 'result.json', text + '\n')
    print(protocol.table())
    if isinstance(report, AveragePrecisionReport):
        print(report.text())
    else:
        order = sorted(metrics, key=lambda name: name != (report.headline if report else ''))
        print('  '.join(f'{name} {metrics[name]:.2f}' for name in order if metrics))
    print(f'written to {path}')


def _all_scores(
    reported: dict[str, Any], metrics: dict[str, Any], used: Sequence[Any]
) -> dict[str, Any]:
    """Scores of all evaluators by name, not rounded where an evaluator has them so."""
    found = dict(reported)
    for metric in used:
        found.update(getattr(metric, 'scores', None) or {})
    known = set(found)
    others = {k: v for k, v in metrics.items() if k.rpartition('/')[2] not in known}
    return {**found, **others}


def run(args: argparse.Namespace) -> int:
    """Evaluates and returns the exit code.

    Args:
        args: of :func:`build_parser`.
    """
    check_words(args)
    suite = suite_loop(args)
    from mmengine.dist import is_main_process

    from ovseg.engine.explain import explained
    from ovseg.engine.launch import build_runner, device_of_run, load_config, need_parts
    from ovseg.images import give_resize_rule
    from ovseg.tensor_cores import set_tf32

    set_tf32(args.tf32, device_of_run())
    config = load_config(args)
    need_parts(config, ('model', 'test_dataloader', 'test_evaluator'), 'evaluate')
    give_resize_rule(config)
    for part in _NOT_FOR_TESTING:
        config.pop(part, None)
    if config.get('test_cfg') is None:
        config.test_cfg = {'type': 'TestLoop'}
    if suite is not None:
        config.test_cfg = {**suite, **suite_data(config, suite['suite'])}
    config.resume = False
    if args.checkpoint is not None:
        config.load_from = args.checkpoint
    set_rejection(config, args.rejection)
    facts = set_precision(config, args)
    if args.compile:
        config.custom_hooks = [*(config.get('custom_hooks') or []), {'type': 'CompileHook'}]
    check_folder(config.work_dir)
    doubt_strangers(config, args)
    with explained(config):
        check_weights(config)
        set_outputs(config, args)
        if args.tta:
            facts.update(set_tta(config))
        runner = build_runner(config)
        metrics = runner.test()
        if suite is None and is_main_process():
            report_result(runner, metrics, args, facts)
    return 0


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Reads the words, evaluates and returns the exit code.

    Args:
        argv: the words; None for the process's own.
        prog: see :func:`build_parser`.
    """
    # The checkpoint may follow an option: CONFIG --on DATA CHECKPOINT.
    args = build_parser(prog).parse_intermixed_args(argv)
    with quiet(args.quiet):
        return run(args)
