"""One progress bar for the terminal, for JupyterLab and for headless runs."""

import os
import sys

from tqdm import tqdm

from cxr_helpers.engine import files


def someone_watches() -> bool:
    """Whether this is a kernel of JupyterLab, and no headless run."""
    return "ipykernel" in sys.modules and files.TERMINAL not in os.environ


def bar(total: int | None, description: str, unit: str = "batch", initial: int = 0) -> tqdm:
    """A tqdm bar. A headless notebook draws it on the terminal that started it, never into the
    notebook's outputs.
    """
    common = dict(
        total=total,
        initial=initial,
        desc=description,
        unit=unit,
        leave=False,
        dynamic_ncols=True,
        unit_scale=unit == "B",
    )
    terminal = os.environ.get(files.TERMINAL)
    if terminal:
        stream = open(terminal, "w")  # noqa: SIM115 - tqdm writes until it is closed
        return tqdm(file=stream, **common)
    if terminal is not None:
        return tqdm(disable=True, **common)
    if "ipykernel" in sys.modules:
        from tqdm.auto import tqdm as notebook_bar

        return notebook_bar(**common)
    return tqdm(disable=not sys.stderr.isatty(), **common)
