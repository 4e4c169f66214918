"""The demo: a year of real flights through import, lake and hourly export, with a proof of the result."""
