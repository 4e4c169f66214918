"""`sluice demo`: the main job on real data, with everything that it needs on this machine."""

from __future__ import annotations

import sys

import click


@click.command()
@click.option("--check", is_flag=True, help="Stop everything at the end; exit 0 only if the proof held.")
@click.option("--port", default=8080, show_default=True, help="Airflow's UI; the next free port if taken.")
def demo(check: bool, port: int) -> None:
    """Import a year of flights, export a day by the hour, twice, sync two cohorts, and prove the result.

    Everything runs on 127.0.0.1 with its data in .sluice/demo, which each demo begins anew.
    """
    from rich.console import Console

    from sluice.config import load_config
    from sluice.demo.notified import write_config
    from sluice.demo.report import print_report
    from sluice.demo.run import DESTINATION, demonstrate
    from sluice.local.stack import DEFAULT_DATA_DIR, LocalStack

    console = Console(highlight=False, width=max(110, Console().width))

    def say(line: str) -> None:
        console.print(f"[cyan]•[/] {line}")

    say("Starting S3, the AWS stand-in, PostgreSQL and Airflow")
    home = DEFAULT_DATA_DIR / "demo"
    config = write_config(home / "config")
    with LocalStack(home, ui_port=port, config_dir=config, fresh=True, report=say) as stack:
        destination = load_config(stack.folders.config).export(DESTINATION)
        done = demonstrate(stack, say)
        print_report(console, done, destination.bucket, destination.projects[0])
        console.print(f"Airflow's UI: [bold]{stack.airflow_url}[/]")
        if check:
            sys.exit(0 if done.holds else 1)
        console.print("Press Ctrl-C to stop everything.")
        stack.wait()
