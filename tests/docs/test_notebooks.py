"""The notebooks run from their first cell to their last, and are stored without outputs."""

from __future__ import annotations

import json

import pytest
from scripts import ROOT

NOTEBOOKS = {path.stem: path for path in sorted(ROOT.glob('docs/notebooks/*.ipynb'))}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Executes a notebook in an empty folder, in this environment, and returns what it printed."""
    nbformat = pytest.importorskip('nbformat', reason='pip install -r requirements/tests.txt')
    client = pytest.importorskip('nbclient', reason='pip install -r requirements/tests.txt')
    pytest.importorskip('ipykernel', reason='pip install -r requirements/tests.txt')
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    # A kernel of this interpreter, whatever kernels the machine's owner has installed.
    monkeypatch.setenv('JUPYTER_PATH', str(tmp_path))
    monkeypatch.setenv('IPYTHONDIR', str(tmp_path / 'ipython'))

    def execute(name):
        notebook = nbformat.read(NOTEBOOKS[name], as_version=4)
        resources = {'metadata': {'path': str(tmp_path)}}
        client.NotebookClient(notebook, timeout=300, resources=resources).execute()
        outputs = [one for cell in notebook.cells for one in cell.get('outputs', ())]
        printed = ''.join(one.get('text', '') for one in outputs)
        return printed, sum('image/png' in one.get('data', {}) for one in outputs)

    return execute


@pytest.mark.parametrize('name', NOTEBOOKS)
def test_a_notebook_is_stored_without_outputs(name):
    cells = json.loads(NOTEBOOKS[name].read_text(encoding='utf-8'))['cells']
    codes = [cell for cell in cells if cell['cell_type'] == 'code']
    assert codes and all(not c['outputs'] and c['execution_count'] is None for c in codes)


@pytest.mark.slow
def test_the_first_steps_show_masks_and_tables(run):
    printed, pictures = run('first_steps')
    assert 'red star' in printed and 'blue ball' in printed
    assert pictures == 3


@pytest.mark.slow
def test_a_student_learns_from_unlabelled_pictures(run):
    printed, pictures = run('train_a_student')
    shares = [float(part.split()[0]) for part in printed.split('decode.acc_seg: ')[1:]]
    assert shares[-1] > shares[0] + 10
    assert pictures == 2
