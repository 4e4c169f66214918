import shlex
import subprocess
import sys

from gates import RUN, a_gate

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


def test_a_run_id_is_quoted_for_the_shell():
    run_id = "manual__it's; rm -rf ~ $(x)"
    command = clear_command(f"my_dag/{run_id}")
    assert shlex.split(command) == [
        "airflow", "dags", "clear", "my_dag", "--run-id", run_id, "--only-failed", "--yes"
    ]  # fmt: skip
    assert clear_command("by hand") is None


def test_airflow_knows_the_commands_that_are_advised():
    """Its own parser reads them, so that a change of its options is noticed here."""
    commands = [
        step.command for step in steps(a_gate()) if step.command and step.command.startswith("airflow")
    ]
    assert len(commands) == 2
    program = (
        "import shlex, sys; from airflow.cli.cli_parser import get_parser\n"
        "for command in sys.argv[1:]:\n"
        "    known = get_parser().parse_args(shlex.split(command)[1:])\n"
        "    print(known.dag_id, known.run_id, known.only_failed, known.yes, sep='|')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *commands], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    dag_id, _, run_id = RUN.partition("/")
    assert done.stdout.splitlines() == [f"{dag_id}|{run_id}|True|True", f"{dag_id}|{run_id}|False|True"]
