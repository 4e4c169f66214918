"""`python -m sluice`: the command line where no script is installed."""

from sluice.cli import main

main()
