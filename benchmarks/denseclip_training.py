"""What DenseCLIP costs beside the same Semantic FPN without words: training and inference.

    python benchmarks/denseclip_training.py                        # CPU: 4 crops of 512 x 512
    python benchmarks/denseclip_training.py --device cuda --steps 30
    python benchmarks/denseclip_training.py --crop 128 --batch 2 --steps 3      # a quick look

Four networks of full size with random weights, on random images and labels: the plain-CLIP
baseline with its loss as mmseg takes it, at the size of the labels; the same with the loss in
strips; DenseCLIP as released (the text tower trains along), and DenseCLIP with a frozen text tower.
Each round takes one training step of each, in turn; ratios are taken round by round. FLOPs
are those of matrix products and convolutions, forward and backward, as torch.utils.flop_counter
sees them: an overhead in time beyond that in FLOPs would not be explained by the method.

Peak memory is that of a process which builds one network, its optimizer and takes two steps, above
what it held before: of torch's allocator on a GPU, else of resident memory.

Inference goes over one image in windows, without labels: the baseline and DenseCLIP with windows
in batches, DenseCLIP window by window, and window by window with the text tower run anew for each,
as in the release.

Run it where nothing else runs. On a CPU, --threads sets the cores.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ovseg.apis.profiling import MemoryPeak, StageClock
from ovseg.images import Images
from ovseg.registry import MODELS
from ovseg.segmentors import TrainedSegmentor
from ovseg.tables import text_table

CONFIGS = Path(__file__).resolve().parent.parent / 'configs' / 'denseclip'
MMSEG, BASELINE = 'FPN of mmseg, no words', 'FPN, no words'
# Name -> config, and what of its model is replaced.
NETWORKS = {
    MMSEG: ('fpn_clip_r50_512x512_80k_ade20k.py', {}),
    BASELINE: ('fpn_clip_r50_512x512_80k_ade20k.py', {}),
    'DenseCLIP': ('denseclip_fpn_r50_512x512_80k_ade20k.py', {'freeze_text_encoder': False}),
    'DenseCLIP, frozen text': (
        'denseclip_fpn_r50_512x512_80k_ade20k.py',
        {'freeze_text_encoder': True},
    ),
}
PARTS = ('forward', 'backward', 'optimizer')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default: %(default)s)')
    parser.add_argument('--batch', type=int, default=4, help='images a step (default: 4)')
    parser.add_argument('--crop', type=int, default=512, help='pixels a side (default: 512)')
    parser.add_argument(
        '--steps', type=int, default=5, help='rounds, after one that is not counted'
    )
    parser.add_argument('--image', type=int, help='pixels a side for inference (default: 2 crops)')
    parser.add_argument('--threads', type=int, help="of a CPU (default: torch's)")
    parser.add_argument('--json', metavar='FILE', help='also write the figures there')
    parser.add_argument('--memory-of', choices=NETWORKS, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


class Network:
    """One network under measurement.

    Args:
        name: of :data:`NETWORKS`.
        args: the command line.
    """

    def __init__(self, name: str, args: argparse.Namespace) -> None:
        file, changes = NETWORKS[name]
        config = Config.fromfile(CONFIGS / file)
        config.model.update(changes)
        window = {'crop_size': (args.crop,) * 2, 'stride': (2 * args.crop // 3,) * 2}
        config.model.test_cfg.update(window)
        torch.manual_seed(0)
        self.device = torch.device(args.device)
        with DefaultScope.overwrite_default_scope('ovseg'):
            self.model = MODELS.build(config.model).to(self.device)
            self._optimizer = build_optim_wrapper(self.model, config.optim_wrapper).optimizer
        if name == MMSEG:
            of_mmseg = super(TrainedSegmentor, self.model)
            self.model._decode_head_forward_train = of_mmseg._decode_head_forward_train
        self.clock = StageClock(self.device)
        classes = len(self.model.trained_vocabulary)
        random = torch.Generator().manual_seed(1)
        size = (args.crop, args.crop)
        self._images = torch.randn(args.batch, 3, *size, generator=random).to(self.device)
        self._samples = []
        for _ in range(args.batch):
            sample = SegDataSample(metainfo={'img_shape': size, 'ori_shape': size})
            labels = torch.randint(classes, (1, *size), generator=random)
            sample.gt_sem_seg = PixelData(data=labels.to(self.device))
            self._samples.append(sample)

    def step(self) -> None:
        """One training step; its parts' seconds are added to the clock."""
        self.model.train()
        self._optimizer.zero_grad()
        with self.clock.measure('forward'):
            losses = self.model(self._images, self._samples, mode='loss')
            loss, _ = self.model.parse_losses(losses)
        with self.clock.measure('backward'):
            loss.backward()
        with self.clock.measure('optimizer'):
            self._optimizer.step()

    def seconds(self) -> dict[str, float]:
        """Seconds of one training step by part, with their sum as ``step``."""
        self.clock.reset()
        self.step()
        parts = {part: self.clock.seconds(part) for part in PARTS}
        return {**parts, 'step': sum(parts.values())}

    def flops(self) -> float:
        """Floating-point operations of the forward and backward pass of one step."""
        # Fused attention has no formula on every device; as matrix products it is counted.
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            self.step()
        return float(counter.get_total_flops())

    def megabytes(self) -> dict[str, float]:
        """Weights, gradients after a step, and the optimizer's states."""
        parameters = list(self.model.parameters())
        gradients = [value.grad for value in parameters if value.grad is not None]
        states = [
            value
            for state in self._optimizer.state.values()
            for value in state.values()
            if isinstance(value, Tensor)
        ]
        tensors = {'weights': parameters, 'gradients': gradients, 'optimizer': states}
        return {
            name: sum(value.numel() * value.element_size() for value in values) / 2**20
            for name, values in tensors.items()
        }


def peak_memory(name: str, args: argparse.Namespace) -> dict[str, float]:
    """Megabytes that building a network and training it for two steps take, in this process."""
    with MemoryPeak(torch.device(args.device)) as peak:
        network = Network(name, args)
        network.step()
        network.step()
    return {'peak': peak.bytes / 2**20, **network.megabytes()}


def in_own_process(name: str) -> dict[str, float]:
    """:func:`peak_memory` of a new process with the same command line."""
    command = [sys.executable, __file__, *sys.argv[1:], '--memory-of', name]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def in_rounds(
    subjects: dict[str, Callable[[], dict[str, float]]], rounds: int
) -> dict[str, list[dict[str, float]]]:
    """Figures of each subject in each round; all take turns, and the first round is not counted."""
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in subjects}
    for number in range(rounds + 1):
        for name, measure in subjects.items():
            figure = measure()
            if number:
                figures[name].append(figure)
    return figures


def ratio(runs: list[dict[str, float]], base: list[dict[str, float]], key: str) -> str:
    """Median of the ratios of a figure round by round, with its range."""
    ratios = [run[key] / other[key] for run, other in zip(runs, base, strict=True)]
    return f'{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})'


def report_training(
    figures: dict[str, list[dict[str, float]]],
    flops: dict[str, float],
    memory: dict[str, dict[str, float]],
) -> str:
    """The tables of a training step."""
    times, rest = [], []
    for name, runs in figures.items():
        medians = [statistics.median(run[part] for run in runs) for part in (*PARTS, 'step')]
        times.append((name, *(f'{1000 * value:.0f} ms' for value in medians)))
        sizes = memory[name]
        rest.append(
            (
                name,
                ratio(runs, figures[MMSEG], 'step'),
                ratio(runs, figures[BASELINE], 'step'),
                f'{flops[name] / 1e9:.1f}',
                f'{flops[name] / flops[MMSEG]:.3f}',
                *(f'{sizes[key]:.0f} MB' for key in ('peak', 'weights', 'gradients', 'optimizer')),
                f'{sizes["peak"] / memory[MMSEG]["peak"]:.3f}',
            )
        )
    of_memory = ('peak', 'weights', 'gradients', 'Adam')
    heads = ('network', 'step: times', 'times the second', 'GFLOPs', 'times', *of_memory)
    return '\n\n'.join(
        [
            text_table(('network', *PARTS, 'step'), times),
            text_table((*heads, 'peak: times'), rest),
        ]
    )


class Inference:
    """One way of taking an image through a network in windows.

    Args:
        model: in evaluation.
        image: (1, 3, H, W).
        window_batch: windows at once.
        text_anew: whether the text tower runs for each batch of windows.
    """

    def __init__(
        self, model: nn.Module, image: Tensor, window_batch: int, text_anew: bool = False
    ) -> None:
        self._model, self._image = model, image
        self._settings = replace(model.inference_settings, window_batch=window_batch)
        self._text_anew = text_anew
        self._clock = StageClock(image.device)

    @torch.inference_mode()
    def seconds(self) -> dict[str, float]:
        """Seconds a window."""
        self._model.inference_settings = self._settings
        hook = self._model.backbone.register_forward_pre_hook(self._forget_text)
        self._clock.reset()
        try:
            with self._clock.measure('image'):
                (encoding,) = self._model.encode(Images(self._image))
        finally:
            hook.remove()
        return {'window': self._clock.seconds('image') / len(encoding.boxes)}

    def _forget_text(self, *_: object) -> None:
        if self._text_anew:
            self._model.eval()  # Setting the mode makes the model forget its text embeddings.


def measure_inference(
    networks: dict[str, Network], args: argparse.Namespace
) -> dict[str, list[dict[str, float]]]:
    """Seconds a window of each way, in rounds."""
    side = args.image or 2 * args.crop
    baseline, guided = networks[BASELINE], networks['DenseCLIP']
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(2))
    image = image.to(baseline.device)
    for network in (baseline, guided):
        network.model.eval()
    together = guided.model.inference_settings.window_batch
    ways = {
        f'{BASELINE}, {together} windows at once': Inference(baseline.model, image, together),
        f'DenseCLIP, {together} windows at once': Inference(guided.model, image, together),
        'DenseCLIP, one by one': Inference(guided.model, image, 1),
        'DenseCLIP, one by one, text anew': Inference(guided.model, image, 1, text_anew=True),
    }
    return in_rounds({name: way.seconds for name, way in ways.items()}, args.steps)


def report_inference(figures: dict[str, list[dict[str, float]]]) -> str:
    """The table of inference."""
    base = next(iter(figures.values()))
    rows = [
        (
            name,
            f'{1000 * statistics.median(run["window"] for run in runs):.1f} ms',
            ratio(runs, base, 'window'),
        )
        for name, runs in figures.items()
    ]
    return text_table(('inference', 'a window', 'times'), rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    args = parse_args(argv)
    MMLogger.get_current_instance().setLevel('ERROR')  # It lists every frozen parameter.
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.memory_of:
        print(json.dumps(peak_memory(args.memory_of, args)))
        return
    memory = {name: in_own_process(name) for name in NETWORKS}
    networks = {name: Network(name, args) for name in NETWORKS}
    flops = {name: network.flops() for name, network in networks.items()}
    training = in_rounds({name: n.seconds for name, n in networks.items()}, args.steps)
    inference = measure_inference(networks, args)
    device = torch.cuda.get_device_name() if args.device.startswith('cuda') else platform.machine()
    print(
        f'{args.batch} crops of {args.crop} x {args.crop}, float32, {args.steps} rounds on '
        f'{device}, {torch.get_num_threads()} threads, torch {torch.__version__}\n\n'
        f'{report_training(training, flops, memory)}\n\n{report_inference(inference)}'
    )
    if args.json:
        figures = {
            'settings': vars(args),
            'device': device,
            'torch': torch.__version__,
            'training_seconds': training,
            'flops': flops,
            'megabytes': memory,
            'inference_seconds': inference,
        }
        Path(args.json).write_text(json.dumps(figures, indent=2) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
