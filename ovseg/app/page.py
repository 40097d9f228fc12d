"""The page: gradio's components, and which of them a click or a word changes."""

# No `from __future__ import annotations`: gradio reads the hints of handlers, which name gradio.

import io
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from ovseg.app.answers import PageAnswers
from ovseg.app.desk import Desk, Question
from ovseg.app.models import choice_of, facts_of
from ovseg.app.sentences import learnt_html
from ovseg.scenes.demo import DEMO_ZOOM, demo_scene
from ovseg.scenes.draw import draw, whole
from ovseg.zoo import list_models

_FOLDER = Path(__file__).parent
_PLACEHOLDER = 'cat, kitten; sofa; wall'
_SCENE_WORDS = (
    'sky; grass; water; red star; purple kite; pink heart; orange mushroom; yellow flower; '
    'blue ball; red fish'
)
_WAITING = 4  # questions of one kind that are taken on at once; the desk lets one compute
# Hands a file that was sent over to the browser's downloads.
_SAVE = """watch('value', () => {
  const file = props.value;
  if (!file) { return; }
  const bytes = Uint8Array.from(atob(file.data), (letter) => letter.charCodeAt(0));
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([bytes], { type: file.type }));
  link.download = file.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
});"""


@dataclass(frozen=True)
class Beginning:
    """What the page shows before anything is typed.

    Attributes:
        words: in the box of words.
        background: in the box of background words.
        scene: (content of a picture's file, words for it), behind a button.
    """

    words: str
    background: str
    scene: tuple[bytes, str]


def build_page(gr: Any, desk: Desk, beginning: Beginning, megabytes: float) -> Any:
    """The page as a ``gradio.Blocks``.

    Args:
        gr: gradio.
        desk: answers.
        beginning: what stands there at first.
        megabytes: the largest picture, for people; the door keeps to it.
    """
    known = {entry.name: entry for entry in list_models()}

    def facts(model: str) -> str:
        return facts_of(known[model]) if model in known else 'A model of a config.'

    answers = PageAnswers(desk, beginning.scene, gr.skip())

    # gradio tells an event by its hint.
    def on_upload(model: str, event: gr.EventData) -> Question:
        return answers.upload(model, str(event.picture), str(event.name))

    def on_select(shown: Question | None, event: gr.EventData) -> list[Any]:
        return answers.select(shown, event.row, event.column)

    def on_download(shown: Question | None, event: gr.EventData) -> list[Any]:
        return answers.download(shown, str(event.kind), event.opacity, event.hidden)

    choices = [
        (choice_of(known[name]) if name in known else name, name) for name in desk.models.names
    ]
    first = desk.models.names[0]
    plain = {'css_template': _read('page.css'), 'apply_default_css': False}
    with gr.Blocks(title='ovseg', analytics_enabled=False) as page:
        latest, shown = gr.State(None), gr.State(None)
        # Of this visitor: what was corrected, and the pixel that was clicked last.
        corrections, place = gr.State(()), gr.State(None)
        gr.HTML('<h1>ovseg</h1><p>An image and words in, masks out.</p>', **plain)
        with gr.Row(equal_height=True):
            words = gr.Textbox(
                beginning.words,
                label='Words: classes by ";", synonyms by ","',
                placeholder=_PLACEHOLDER,
                lines=1,
                max_lines=6,
                scale=5,
                min_width=320,
                elem_id='ov-words',
            )
            find = gr.Button('Find', variant='primary', min_width=120, elem_id='ov-find')
            scene = gr.Button('Try the drawn scene', min_width=120, elem_id='ov-scene')
        notes = gr.HTML('', elem_id='ov-notes', **plain)
        with gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=320):
                viewer = gr.HTML(
                    None,
                    html_template=_read('viewer.html').replace('MEGABYTES', f'{megabytes:g}'),
                    css_template=_read('viewer.css'),
                    js_on_load=_read('viewer.js'),
                    apply_default_css=False,
                    elem_id='ov-viewer',
                )
            with gr.Column(scale=2, min_width=320):
                why = gr.HTML('', elem_id='ov-why', **plain)
                with gr.Row(equal_height=True):
                    right = gr.Textbox(
                        label='Wrong there? What it is, one of the words',
                        scale=3,
                        min_width=160,
                        elem_id='ov-right',
                    )
                    correct = gr.Button('Correct', min_width=80, elem_id='ov-correct')
                with gr.Row():
                    undo = gr.Button('Undo', size='sm', min_width=60, elem_id='ov-undo')
                    empty = gr.Button('Remove all', size='sm', min_width=60, elem_id='ov-empty')
                    bank = gr.Button('Download bank', size='sm', min_width=60, elem_id='ov-bank')
                learnt = gr.HTML('', elem_id='ov-learnt', **plain)
                background = gr.Textbox(
                    beginning.background,
                    label='Background words: what is none of these',
                    placeholder='wall, floor',
                    elem_id='ov-background',
                )
                threshold = gr.Slider(
                    0,
                    1,
                    0,
                    step=0.01,
                    label='Threshold: pixels that are less sure are background',
                    elem_id='ov-threshold',
                )
                model = gr.Dropdown(choices, value=first, label='Model', elem_id='ov-model')
                about = gr.HTML(_paragraph(facts(first)), elem_id='ov-about', **plain)
        files = gr.HTML(None, html_template='', js_on_load=_SAVE, elem_id='ov-files')

        asked = [latest, corrections, model, words, background, threshold]
        answer = [viewer, notes, why, shown]
        for received in (
            _on(viewer.upload, on_upload, [model], [latest], shown_on=viewer),
            _on(scene.click, answers.scene, [model], [latest, words], shown_on=viewer),
        ):
            _on(received.then, answers.picture, asked, answer, shown_on=viewer)
        _on(find.click, answers.ask, asked, answer, shown_on=viewer)
        for changed in (words.submit, background.submit, threshold.release, model.input):
            _on(changed, answers.change, asked, answer, shown_on=viewer)
        _on(model.change, lambda name: _paragraph(facts(name)), [model], [about])
        _on(viewer.select, on_select, [shown], [why, notes, place], shown_on=why)
        for done, handler, given in (
            (correct.click, answers.correct, [shown, place, right]),
            (right.submit, answers.correct, [shown, place, right]),
            (undo.click, answers.undo, [shown, corrections]),
            (empty.click, answers.remove_all, [shown, corrections]),
        ):
            _on(done, handler, given, [*answer, corrections], shown_on=viewer)
        _on(corrections.change, learnt_html, [corrections], [learnt])
        _on(bank.click, answers.bank, [shown], [files, notes], shown_on=notes)
        _on(viewer.download, on_download, [shown], [files, notes], shown_on=notes)
    page.queue(max_size=64)
    return page


def drawn_scene() -> tuple[bytes, str]:
    """The demo's scene as the content of a PNG file, and words for all that is in it."""
    scene = demo_scene()
    buffer = io.BytesIO()
    Image.fromarray(draw(scene, whole(scene, DEMO_ZOOM)).image).save(buffer, format='PNG')
    return buffer.getvalue(), _SCENE_WORDS


def _on(
    event: Any,
    handler: Callable[..., Any],
    inputs: list[Any],
    outputs: list[Any],
    shown_on: Any = None,
) -> Any:
    """Has an event call a handler; progress is shown on one of the components.

    Of events that come while the handler is at work, the last one is handled next.
    """
    return event(
        handler,
        inputs,
        outputs,
        show_progress='minimal',
        show_progress_on=shown_on,
        concurrency_limit=_WAITING,
        api_visibility='private',
        trigger_mode='always_last',
    )


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding='utf-8')


def _paragraph(text: str) -> str:
    return f'<p>{escape(text)}</p>'
