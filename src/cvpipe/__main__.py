"""`python -m cvpipe` is `cvpipe`."""

from cvpipe.cli import main

if __name__ == "__main__":
    main()
