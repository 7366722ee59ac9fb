"""`python -m lrcn` is `lrcn`."""

from lrcn.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
