"""The magics `%serve model` and `%%serve`, which serve a model from a cell.

    %load_ext workbench
    %%serve --name digits
    model = build_and_train()
    model

Running the cell again publishes the model as the next version, and shows the differences.
"""

from __future__ import annotations

import ast
from typing import Any

from IPython import get_ipython
from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring
from IPython.display import display

from workbench.client.outcomes import Outcome, outcome_of
from workbench.client.publishing.interface import SignatureChange
from workbench.client.serve import default_name
from workbench.core.status import ServingError
from workbench.core.versions.policies import TRANSITIONS
from workbench.facade.entrances import serve
from workbench.facade.notebook_server import Server


@magics_class
class ServingMagics(Magics):  # type: ignore[misc]
    """The magics of one IPython shell."""

    shell: Any

    @magic_arguments()
    @argument("model", nargs="?", help="the model: a variable or any expression without spaces")
    @argument("--name", help="of the model and its server")
    @argument("--transition", help=f"one of {', '.join(TRANSITIONS)}")
    @argument("--base-path", help="the folder for the numbered versions")
    @argument(
        "--allow-signature-change",
        action="store_true",
        help="publish it also if it breaks the callers of the version that serves",
    )
    @line_cell_magic
    def serve(self, line: str, cell: str | None = None) -> Server | None:
        """Serve a model: `%serve MODEL`, or a cell whose last line is the model."""
        arguments = parse_argstring(ServingMagics.serve, line)
        model = self._model(arguments.model, cell)
        name = arguments.name or default_name(model)
        shown = display(_Waiting(name), display_id=True)
        try:
            server = serve(
                model,
                name,
                transition=arguments.transition,
                base_path=arguments.base_path,
                allow_signature_change=arguments.allow_signature_change,
            )
        except SignatureChange as error:
            cure = "give it another --name, or add --allow-signature-change"
            _replace(shown, outcome_of(name, SignatureChange(error.change, cure)))
            return None
        except ServingError as error:
            _replace(shown, outcome_of(name, error))
            return None
        if server.outcome is not None:
            _replace(shown, server.outcome)
        self.shell.user_ns["server"] = server
        return server

    def _model(self, expression: str | None, cell: str | None) -> Any:
        if cell is not None:
            head, last = _split(self.shell.transform_cell(cell))
            self.shell.run_cell(head).raise_error()
            expression = expression or last
            if expression is None:
                raise UsageError(
                    "The cell's last line must be the model; or name it: %%serve model"
                )
        if expression is None:
            raise UsageError("Name the model to serve: %serve MODEL --name NAME")
        return self.shell.ev(expression)


def _split(source: str) -> tuple[str, str | None]:
    """A cell's code before its last expression, and that expression if the cell ends with one.

    The expression is evaluated separately, because IPython would display its value, the model.
    """
    body = ast.parse(source).body
    if not body or not isinstance(body[-1], ast.Expr):
        return source, None
    last = body[-1]
    lines = source.splitlines(keepends=True)
    # A syntax tree counts columns in bytes.
    before = lines[last.lineno - 1].encode()[: last.col_offset].decode()
    return "".join(lines[: last.lineno - 1]) + before, ast.unparse(last.value)


class _Waiting:
    """Shown until the outcome is known."""

    def __init__(self, name: str) -> None:
        self._text = f"Serving {name} ..."

    def __repr__(self) -> str:
        return self._text


def _replace(shown: Any, outcome: Outcome) -> None:
    if hasattr(get_ipython(), "kernel"):
        shown.update(outcome)
    else:
        # A terminal cannot replace its output.
        print(outcome)


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext workbench`."""
    shell.register_magics(ServingMagics)
