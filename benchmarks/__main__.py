"""`python -m benchmarks COMMAND`; the commands are in `benchmarks.cli.main`."""

if __name__ == "__main__":
    from benchmarks.machine.signals import guard, leave

    guard()  # first, because libraries take seconds to import

    from benchmarks.cli.main import main

    try:
        main()
    except SystemExit as end:
        leave(end)
        raise
