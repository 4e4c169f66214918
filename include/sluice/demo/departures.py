"""Who is in the demo's two cohorts, by the raw file of the flights.

It uses pandas on the package's CSV and nothing of Sluice, so that no mistake can cancel itself out.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pandas as pd

from sluice.demo.flights import source_path


class Departures:
    """The flights that left New York and arrived where they should, up to a week before a range of times."""

    def __init__(self, first: datetime, last: datetime) -> None:
        columns = ["time_hour", "minute", "dep_time", "dep_delay", "arr_delay", "tailnum", "carrier"]
        flights = pd.read_csv(source_path(), usecols=columns)
        due = pd.to_datetime(flights["time_hour"], utc=True)
        flights["due"] = due + pd.to_timedelta(flights["minute"], unit="min")
        departed = flights["dep_time"].notna() & flights["arr_delay"].notna()
        in_range = flights["due"].between(pd.Timestamp(first - timedelta(days=7)), pd.Timestamp(last))
        self._flights = flights[departed & in_range].sort_values("due")

    def delayed(self, as_of: datetime) -> set[str]:
        """Return the aircraft that left over an hour late at least three times in seven days."""
        flights = self._before(as_of, timedelta(days=7))
        late = flights[flights["dep_delay"] > 60].groupby("tailnum").size()
        return set(late[late >= 3].index)

    def busy(self, as_of: datetime) -> dict[str, str]:
        """Return the aircraft that left at least three times in 24 hours, with the airline of the latest."""
        flights = self._before(as_of, timedelta(days=1)).groupby("tailnum")
        airlines = flights["carrier"].last()[flights.size() >= 3]
        return {str(aircraft): str(airline) for aircraft, airline in airlines.items()}

    def _before(self, as_of: datetime, span: timedelta) -> pd.DataFrame:
        due = self._flights["due"]
        return self._flights[(due >= pd.Timestamp(as_of - span)) & (due < pd.Timestamp(as_of))]
