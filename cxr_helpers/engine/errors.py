"""The one error that a person is meant to read, and what becomes one."""

import html
import traceback
from collections.abc import Iterator
from contextlib import contextmanager


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


@contextmanager
def explained() -> Iterator[None]:
    """Turn what one's own code raises into one line with the last line of it on the way."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.line for frame in frames if frame.line and frame.filename.startswith("<")]
        where = f" pada baris “{lines[-1]}”" if lines else ""
        reason = (str(error).splitlines() or [""])[0][:200]
        memory = isinstance(error, MemoryError) or "memory" in reason
        advice = ": kecilkan batch_size atau resize" if memory else ""
        said = InputError(f"Kode Anda gagal{where}: {type(error).__name__}: {reason}{advice}.")
        said.details = "".join(traceback.format_exception(error))
        raise said from None


@contextmanager
def interruptible() -> Iterator[None]:
    """An interrupt is one line: what has been trained is kept."""
    try:
        yield
    except KeyboardInterrupt:
        why = "Dihentikan. Jalankan lagi untuk melanjutkan dari epoch terakhir yang utuh."
        raise InputError(why) from None
