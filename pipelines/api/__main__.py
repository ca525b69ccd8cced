"""`python -m cggm`, which is the `cggm` command."""

from cggm.pipelines.commands.app import main

if __name__ == "__main__":
    main()
