import shlex

from gates import a_gate

from sluice.quality.advice import clear_command, steps

STATES = ("passed", "warned", "held", "overridden", "released", "discarded", "expired")


def test_only_what_is_unfinished_has_something_to_do():
    todo = {state for state in STATES if steps(a_gate(state=state))}
    assert todo == {"held", "released", "discarded", "expired"}


def test_what_was_given_up_comes_back_by_the_means_of_its_pipeline():
    said = {
        pipeline: steps(a_gate(pipeline=pipeline, state="discarded"))[0].text
        for pipeline in ("export", "import", "cohort")
    }
    assert "backfill" in said["export"]
    assert "sluice import retry" in said["import"]
    assert "next turn" in said["cohort"]


def test_only_who_stages_anew_is_told_to_clear_the_whole_run():
    """An import keeps what it has staged, and each file the converter of its discovery."""
    for pipeline in ("export", "import", "cohort"):
        todo = steps(a_gate(pipeline=pipeline, state="held"))
        clears = [each for each in todo if (each.command or "").startswith("airflow dags clear")]
        whole = [each for each in clears if "--only-failed" not in each.command]
        assert len(clears) - len(whole) == 1
        assert len(whole) == (0 if pipeline == "import" else 1)
        [discard] = [each for each in todo if "sluice quality discard" in (each.command or "")]
        assert ("sluice import retry" in discard.text) == (pipeline == "import")


def test_a_run_id_is_quoted_for_the_shell():
    run_id = "manual__it's; rm -rf ~ $(x)"
    command = clear_command(f"my_dag/{run_id}")
    assert shlex.split(command) == [
        "airflow", "dags", "clear", "my_dag", "--run-id", run_id, "--only-failed", "--yes"
    ]  # fmt: skip
    assert clear_command("by hand") is None
