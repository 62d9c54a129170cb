"""The one error that a person is meant to read."""

import html


class InputError(ValueError):
    """Wrong input in one Indonesian line: what is wrong and what to do. Commands exit with 2.
    details: the traceback through a person's own code, where that failed.
    """

    details = ""

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())  # a file's name may hold line breaks

    def _render_traceback_(self) -> list[str]:
        """What JupyterLab shows: the line; above it, folded, the details."""
        if self.details:
            from IPython.display import HTML, display

            shown = f"<summary>Jejak galat</summary><pre>{html.escape(self.details)}</pre>"
            display(HTML(f"<details>{shown}</details>"))
        return [f"Galat: {self}"]
