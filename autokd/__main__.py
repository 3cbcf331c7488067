"""`python -m autokd` is the command line."""

from autokd.cli import main

if __name__ == "__main__":
    main()
