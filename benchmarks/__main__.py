"""`python -m benchmarks COMMAND`; see cli.py."""

from benchmarks.cli import main

if __name__ == "__main__":
    main()
