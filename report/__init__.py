"""The report: chapters, execution, typesetting, checks, comparison and the reference study."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def environment(changes: dict[str, str]) -> Iterator[None]:
    """Environment variables with `changes` while the block runs, and as they were after it."""
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
