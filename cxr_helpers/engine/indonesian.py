"""Numbers, dates and lists as Indonesian writes them: Babel's `id` locale, with a true minus."""

import math
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from babel.lists import format_list
from babel.numbers import format_decimal

LOCALE = "id"
MISSING = "–"


def number(value: float | None, digits: int = 3) -> str:
    """1234.5 → '1.234,5' (digits=1); None and NaN → '–'. What rounds to zero has no sign."""
    if value is None or not math.isfinite(value):
        return MISSING
    exact = Decimal(value) if isinstance(value, (int, float)) else Decimal(float(value))
    pattern = "#,##0" + ("." + "0" * digits if digits else "")
    text = format_decimal(exact, format=pattern, locale=LOCALE)
    negative = text.startswith("-") and any(c in text for c in "123456789")
    return ("−" if negative else "") + text.removeprefix("-")


def plain(value: float) -> str:
    """A setting as it is: 0.0004 → '0,0004', 32 → '32'."""
    return f"{value:g}".replace(".", ",").replace("-", "−")


def percent(value: float | None, digits: int = 1) -> str:
    """0.853 → '85,3%'."""
    return MISSING if value is None else number(100 * value, digits) + "%"


def signed(value: float, digits: int = 3) -> str:
    """A difference with its sign: 0.0214 → '+0,021'; what rounds to zero has none."""
    text = number(value, digits)
    return "+" + text if text[0].isdigit() and text.strip("0,") else text


def points(value: float, digits: int = 1) -> str:
    """A difference of shares in percentage points with its sign: 0.021 → '+2,1'."""
    return signed(100 * value, digits)


def interval(ci: Sequence[float], digits: int = 1, scale: float = 100) -> str:
    """(0.81, 0.88) → '81,0–88,0'; with a negative bound '−1,0 hingga 2,0'."""
    low, high = (number(scale * bound, digits) for bound in ci)
    return f"{low} hingga {high}" if "−" in low + high else f"{low}–{high}"


def duration(seconds: float) -> str:
    """75 → '1 menit 15 detik'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours} jam"] * bool(hours) + [f"{minutes} menit"] * bool(minutes)
    return " ".join(parts + ([f"{rest} detik"] if rest or not parts else []))


def date(iso: str) -> str:
    """'2026-11-23T18:00:00+00:00' → '23 November 2026'."""
    from babel.dates import format_date  # late: slow to import, for the cover alone

    return format_date(datetime.fromisoformat(iso), format="long", locale=LOCALE)


def join(words: Sequence[str]) -> str:
    """['a', 'b', 'c'] → 'a, b, dan c'."""
    return format_list(list(words), locale=LOCALE)
