"""The one error that a person is meant to read."""

import html


class InputError(ValueError):
    """Wrong input, said in one Indonesian line: what is wrong and what to do. Callers print it and
    exit with 2.

    details: the traceback of a person's own code where that is what failed, else "".
    """

    details = ""

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())  # a file's name may hold line breaks

    def _render_traceback_(self) -> list[str]:
        """What JupyterLab shows: the line, and the way there folded, where it leads through a
        person's own code.
        """
        if self.details:
            from IPython.display import HTML, display

            display(
                HTML(
                    "<details><summary>Jejak galat</summary>"
                    f"<pre>{html.escape(self.details)}</pre></details>"
                )
            )
        return [f"Galat: {self}"]
