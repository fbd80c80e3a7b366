"""When the soak time began: the day on which the app's unit was enabled, which is the last act of a cutover."""

from __future__ import annotations

from datetime import UTC, date, datetime

from converge.errors import Unobservable
from converge.readings import Context, Raw, reading


@reading('link="$UNITS/default.target.wants/$UNIT"; if [ -L "$link" ]; then stat -c %Y "$link"; else echo none; fi')
def enabled_on(raw: Raw, c: Context) -> date | None:
    """The day on which the app's unit was enabled (the link's own time), None while it is not."""
    word = raw.out.strip()
    if word == "none":
        return None
    if raw.rc or not word.isdigit():
        raise Unobservable(f"{c.at}: stat of the enabling link of {c.inv.app.unit}: {raw.err.strip() or word!r}")
    return datetime.fromtimestamp(int(word), UTC).date()
