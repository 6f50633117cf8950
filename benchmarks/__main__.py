"""`python -m benchmarks COMMAND`; see cli.py."""

if __name__ == "__main__":
    from benchmarks.stopping import leave, quit_on_signals

    quit_on_signals()  # also while libraries are imported, and when all is done: no traceback for a Ctrl-C

    from benchmarks.cli import main

    try:
        main()
    except SystemExit as end:
        leave(end)
        raise
