"""The page on a port of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ovseg.apis import OpenVocabSegmenter
from ovseg.app.desk import Desk
from ovseg.app.door import Door
from ovseg.app.page import Beginning, build_page
from ovseg.errors import UserError
from ovseg.extras import extra_module


@dataclass(frozen=True)
class Place:
    """Where the page is, and how much it takes.

    Attributes:
        host: the address that it listens at.
        port: likewise.
        max_megabytes: the largest file of a picture that is taken (10^6 bytes).
        memory: megabytes that encoded pictures may take together.
    """

    host: str = '127.0.0.1'
    port: int = 7860
    max_megabytes: float = 20.0
    memory: float = 2000.0


class Served:
    """The page while it is served: a context manager.

    Args:
        names: of the models that are offered, the one that the page starts with first.
        load: builds the model of a name.
        beginning: what the page shows before anything is typed.
        place: where it is, and how much it takes.

    Attributes:
        url: of the page.

    Raises:
        UserError: gradio is missing, or the address cannot be listened at.
    """

    def __init__(
        self,
        names: list[str],
        load: Callable[[str], OpenVocabSegmenter],
        beginning: Beginning,
        place: Place,
    ) -> None:
        gradio = import_gradio()
        desk = Desk(names, load, place.memory)
        desk.models.get(names[0])  # what is wrong with it is said now, not to the first visitor
        self._page = build_page(gradio, desk, beginning, place.max_megabytes)
        door = (Door, (), {'receive_picture': desk.receive, 'megabytes': place.max_megabytes})
        try:
            self._page.launch(
                server_name=place.host,
                server_port=place.port,
                prevent_thread_lock=True,
                inline=False,
                share=False,
                quiet=True,
                show_error=False,
                footer_links=[],
                run_history=False,
                enable_monitoring=False,
                ssr_mode=False,
                pwa=False,
                mcp_server=False,
                # Fonts of the machine that shows the page: none is fetched.
                theme=gradio.themes.Default(
                    font=['system-ui', 'sans-serif'], font_mono=['ui-monospace', 'monospace']
                ),
                # Its arrow stands on the text where that is long.
                css='#ov-model input { padding-right: 2.4em; text-overflow: ellipsis; }',
                app_kwargs={
                    'middleware': [door],
                    'docs_url': None,
                    'redoc_url': None,
                    'openapi_url': None,
                },
            )
        except OSError as error:
            raise UserError(
                f'The page cannot be served at {place.host}, port {place.port}: another program '
                'may listen there, or the address is none of this machine; choose others with '
                '--host and --port.'
            ) from error
        self.url: str = self._page.local_url

    def __enter__(self) -> Served:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._page.close(verbose=False)


def import_gradio() -> Any:
    """The module gradio, which then tells nobody about its use.

    Raises:
        UserError: it is missing.
    """
    # Read while it is imported.
    os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
    return extra_module('gradio', 'app', 'Web pages')
