"""Optimizers on small real tasks, with a table and a picture."""

import os
import signal
import sys

INTERRUPTED = 130
"""The exit status of a program that Ctrl-C ended, by the shells' convention."""


def end(number: int, frame: object) -> None:
    """End at once and say so in a line: while modules are imported nothing is lost, and a traceback tells nothing."""
    sys.stdout.flush()
    os.write(2, b"\ninterrupted\n")
    os._exit(INTERRUPTED)


def catch_interrupts() -> None:
    """Have Ctrl-C raise KeyboardInterrupt again, for what can keep its results."""
    if signal.getsignal(signal.SIGINT) is end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# `python -m benchmarks.X` imports this package first, and only then is argv[0] "-m".
if sys.argv[0] == "-m" and sys.stderr.isatty():
    sys.stderr.write("loading\r")  # importing takes seconds; what is written next takes its place
    sys.stderr.flush()
if sys.argv[0] == "-m" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not ignored
    signal.signal(signal.SIGINT, end)
