"""The one error that a person is meant to read, and what becomes one."""

import html
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

CURES = {  # of what PyTorch says of one's own code, which part means what to do
    "memory": "kecilkan batch_size atau resize",
    "closure|'NoneType' object is not c": "tulis langkah berloss ganda itu sebagai step=…",
    "shapes cannot be multiplied": "samakan ukuran masukan nn.Linear, atau pakai nn.LazyLinear",
    "to have . channels": "citra berkanal satu: nn.Conv2d(1, …), atau x.expand(-1, 3, -1, -1)",
    "type .* should be the same": "pakai float32: hapus half() dan double(), atau beri .float()",
    "Target|shape mismatch|can't be cast": "label float32 (N, 1), satu logit, BCEWithLogitsLoss",
    "got dict": "berikan tuple, logit yang pertama",
    "KeyError": "isi dict itu di sel yang membuatnya, bukan oleh fungsi",
    "ScriptModule": "berikan modelnya tanpa torch.jit",
    "empty parameter list": "berikan parameter yang diterima fungsi itu",
}


class InputError(ValueError):
    """Wrong input in one Indonesian line, with the cure; details: a traceback of own code."""

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
        reason = f"{type(error).__name__}: {reason.rstrip('.')}"
        cures = [cure for words, cure in CURES.items() if re.search(words, reason, re.IGNORECASE)]
        said = InputError(f"Kode Anda gagal{where}: {': '.join([reason, *cures[:1]])}.")
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
