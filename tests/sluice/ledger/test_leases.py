from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from threading import Event
from time import sleep

from importing import forks
from sqlalchemy import update

from sluice.ledger import Ledger, leases
from sluice.ledger.counters import take_block
from sluice.ledger.database import LedgerUnavailable
from sluice.ledger.tables import leases as table


def expire(ledger, name):
    with ledger.begin() as connection:
        long_ago = datetime(2000, 1, 1, tzinfo=UTC)
        connection.execute(update(table).where(table.c.name == name).values(expires_at=long_ago))


def test_a_live_lease_keeps_others_out_and_lets_its_holder_in(ledger):
    assert leases.take(ledger, "commit:1", "a", 60)
    assert not leases.take(ledger, "commit:1", "b", 60)
    assert leases.take(ledger, "commit:1", "a", 60)
    assert leases.current(ledger, "commit:1").holder == "a"


def test_an_expired_lease_goes_to_the_next_and_is_not_renewed(ledger):
    assert leases.take(ledger, "commit:1", "a", 60)
    expire(ledger, "commit:1")
    assert leases.current(ledger, "commit:1") is None
    assert not leases.renew(ledger, "commit:1", "a", 60)
    assert leases.take(ledger, "commit:1", "b", 60)
    assert not leases.renew(ledger, "commit:1", "a", 60)
    leases.release(ledger, "commit:1", "a")
    assert leases.current(ledger, "commit:1").holder == "b"


def test_live_leases_are_found_by_their_prefix(ledger):
    leases.take(ledger, "load:1:x", "a", 60)
    leases.take(ledger, "load:1:y", "b", 60)
    leases.take(ledger, "load:11:z", "c", 60)
    expire(ledger, "load:1:y")
    assert [lease.holder for lease in leases.live(ledger, "load:1:")] == ["a"]


def test_a_held_lease_is_given_back_and_refused_to_a_second(ledger):
    with leases.held(ledger, "n", "a", 30) as mine:
        assert mine
        with leases.held(ledger, "n", "b", 30) as other:
            assert not other
        assert leases.current(ledger, "n").holder == "a"
    assert leases.current(ledger, "n") is None


def test_a_held_lease_outlives_its_own_seconds(ledger):
    with leases.held(ledger, "n", "a", 0.6):
        first = leases.current(ledger, "n").expires_at
        while leases.current(ledger, "n").expires_at == first:
            sleep(0.01)
        assert leases.current(ledger, "n").holder == "a"


def test_a_ledger_that_does_not_answer_is_asked_again(ledger, monkeypatch):
    asked_again = Event()
    errors = iter([LedgerUnavailable("gone"), LedgerUnavailable("gone")])

    def renew(*args) -> bool:
        for error in errors:
            raise error
        asked_again.set()
        return True

    monkeypatch.setattr(leases, "renew", renew)
    with leases.held(ledger, "n", "a", 0.03):
        assert asked_again.wait(60)


def test_a_lease_that_cannot_be_given_back_runs_out_and_spoils_no_result(ledger, monkeypatch):
    def release(*args):
        raise LedgerUnavailable("gone")

    monkeypatch.setattr(leases, "release", release)
    with leases.held(ledger, "n", "a", 30) as mine:
        assert mine
    assert leases.current(ledger, "n").holder == "a"


def _claim_all(url_and_holder):
    url, holder = url_and_holder
    ledger = Ledger.open(url, migrate=False)
    won = [n for n in range(40) if leases.take(ledger, f"n{n}", holder, 60)]
    numbers = [number for _ in range(10) for number in take_block(ledger, "ids", 7, start=100)]
    return won, numbers


def test_four_processes_share_leases_and_numbers_without_a_double(ledger, ledger_url):
    with ProcessPoolExecutor(4, mp_context=forks()) as pool:
        results = list(pool.map(_claim_all, [(ledger_url, str(i)) for i in range(4)]))
    assert sorted(n for won, _ in results for n in won) == list(range(40))
    assert sorted(n for _, numbers in results for n in numbers) == list(range(100, 100 + 4 * 70))
