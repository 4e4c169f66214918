"""Date folders: where the new files of a source with a `layout` are expected (amplitude-spec 4.3)."""

from __future__ import annotations

from datetime import datetime, timedelta

_HOUR = timedelta(hours=1)


def recent_folders(layout: str, now: datetime, hours: int) -> list[str]:
    """Return the folders of the last `hours` before `now` (UTC), oldest first, each once.

    The hour after `now` is one of them: a writer's clock may be ahead.
    """
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    times = (this_hour + number * _HOUR for number in range(-hours, 2))
    return list(dict.fromkeys(_folder(layout, time) for time in times))


def _folder(layout: str, time: datetime) -> str:
    tokens = {"{yyyy}": f"{time:%Y}", "{MM}": f"{time:%m}", "{dd}": f"{time:%d}", "{HH}": f"{time:%H}"}
    for token, text in tokens.items():
        layout = layout.replace(token, text)
    return layout
