"""The S3 import: files of a customer's bucket become rows of the lake, each once (amplitude-spec 4).

discovery finds files, readers stream their rows, rows turns each row into an event, staging keeps the events
until load hands whole files to the lake's load protocol, report says what became of them.
"""
