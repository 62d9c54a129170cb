"""The one error that a person is meant to read."""


class InputError(ValueError):
    """Wrong input, said in one Indonesian line: what is wrong and what to do. Callers print it and exit with 2.

    details: the traceback of a person's own code where that is what failed, else "".
    """

    details = ""

    def _render_traceback_(self) -> list[str]:
        """What JupyterLab shows: the line; the way there would teach nothing."""
        return [f"Galat: {self}", *self.details.splitlines()]
