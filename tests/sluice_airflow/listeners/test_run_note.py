"""The note that the scheduler writes: what Airflow's column takes, whatever the tasks left."""

from sluice_airflow.listeners.run_note import MAX_CHARS, _storable


def test_each_task_has_a_line():
    assert _storable(["a: 1 members.", "b: skipped."]) == "a: 1 members.\nb: skipped."


def test_no_text_can_stop_the_scheduler():
    assert _storable(["a\nb\0c\ud800"]) == "a b c "
    assert len(_storable(["x" * 600] * 3)) == MAX_CHARS
