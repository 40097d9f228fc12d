"""Packaging of ovseg: pure Python, with configs, tools and the embedded weights in the wheel."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


def read_requirements(name: str) -> list[str]:
    """Lines of a requirements file without comments."""
    lines = (ROOT / 'requirements' / name).read_text(encoding='utf-8').splitlines()
    return [line.split('#')[0].strip() for line in lines if line.split('#')[0].strip()]


class BuildWithConfigs(build_py):
    """Copies what lives beside the package in a checkout into ``ovseg/.mim`` of the wheel."""

    def run(self) -> None:
        """Builds, then copies; an editable install finds the folders beside the package."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / 'ovseg' / '.mim'
        for folder in ('configs', 'tools', 'demo'):
            shutil.copytree(
                ROOT / folder,
                target / folder,
                dirs_exist_ok=True,
                ignore=shutil.ignore_patterns('__pycache__', '*.pyc'),
            )
        shutil.copy(ROOT / 'model-index.yml', target / 'model-index.yml')


def read_version() -> str:
    """The package's version, read without importing it: that would need torch."""
    text = (ROOT / 'ovseg' / '__init__.py').read_text(encoding='utf-8')
    return re.search(r"^__version__ = '(.+)'$", text, re.MULTILINE)[1]


setup(
    name='ovseg',
    version=read_version(),
    description='Open-vocabulary segmentation for the MM ecosystem: image and words in, masks out',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['ovseg', 'ovseg.*']),
    package_data={
        'ovseg': [
            'py.typed',
            'vocabulary/names/*',
            'weights/*',
            'apis/*.json',
            'app/viewer.*',
            'app/page.css',
            'datasets/preparation/*.json',
            'evaluation/suites/*.json',
        ]
    },
    install_requires=read_requirements('runtime.txt'),
    entry_points={'console_scripts': ['ovseg = ovseg.cli.command:enter']},
    extras_require={
        'app': ['gradio>=6.31'],  # ovseg app: the web page
        'cvat': ['cvat-sdk>=2.80'],  # ovseg.integrations.cvat
        'faiss': ['faiss-cpu>=1.9'],  # CorrCLIP: published banks of regions, ovseg bank --index
        'fiftyone': ['fiftyone>=1.22'],  # ovseg.integrations.fiftyone_model
        'completion': ['shtab>=1.13'],  # ovseg completion: the scripts that shells read
        'geo': ['rasterio>=1.4', 'pyogrio>=0.9', 'shapely>=2'],  # ovseg raster
        # ovseg export onnx
        'export': ['onnx>=1.17', 'onnxscript>=0.5', 'onnxruntime>=1.20'],
        'parquet': ['pyarrow>=17'],  # ovseg label: images from Parquet, --set-files areas
        'ray': ['ray[data]>=2.60,<2.64'],  # ovseg label --engine ray
        'tests': read_requirements('tests.txt') + read_requirements('lint.txt'),
        'nouns': ['nltk>=3.9'],  # --descriptions wordnet, tools/make_mask_caption_pairs.py
        'pandas': ['pandas>=2.2.2'],  # result.to_pandas()
        'supervision': ['supervision>=0.22'],  # result.to_supervision()
        # SAM 2.1; tokenizers of SigLIP, MetaCLIP 2 and others; TIPSv2's words
        'transformers': ['transformers>=5.18', 'sentencepiece>=0.2', 'protobuf>=4'],
        'tensorboard': ['tensorboard>=2.10'],  # mmengine's TensorboardVisBackend
    },
    cmdclass={'build_py': BuildWithConfigs},
    classifiers=[
        'License :: OSI Approved :: Apache Software License',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
)
