"""The report: chapters, execution, typesetting, checks, comparison and the reference study."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cxr_helpers.engine.errors import InputError

# jsonschema, which nbformat brings, would build a grammar of addresses that no notebook needs: it
# takes longer than all other imports of a small command.
sys.modules.setdefault("rfc3987_syntax", None)


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


def status(work: Callable[[], int | None], stopped: str = "") -> int:
    """A command's exit status: 2 and one line for wrong input, 130 and `stopped` for Ctrl-C."""
    try:
        return work() or 0
    except InputError as error:
        print(f"Galat: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(stopped, end="\n" * bool(stopped), file=sys.stderr)
        return 130
