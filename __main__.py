"""`python -m vit_bench`: the same command line as `python -m bench` and `vit-bench`."""

from .bench.cli import main

if __name__ == "__main__":
    main()
