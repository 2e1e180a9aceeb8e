"""`python -m bench`: the command line, whatever folder it is typed in."""

from vit_bench.bench.cli import main  # pyright: ignore[reportMissingImports]  # the repository's root, once installed

if __name__ == "__main__":
    main()
