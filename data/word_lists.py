"""Options that take several words: `--seeds 0 1 2` beside `--seeds 0 --seeds 1 --seeds 2`."""

from __future__ import annotations

from typer.core import TyperCommand, TyperOption


class WordLists(TyperCommand):
    """A command each of whose lists ends at the next option, as with argparse's ``nargs="+"``.

    ``@app.command(cls=WordLists)`` for a function with options of type ``list[str]``.
    """

    def parse_args(self, ctx, args: list[str]) -> list[str]:
        """Repeat the option before each word of its list, which is how Typer reads lists."""
        lists = {
            name
            for parameter in self.params
            if isinstance(parameter, TyperOption) and parameter.multiple
            for name in parameter.opts
        }
        words: list[str] = []
        option = None
        for word in args:
            if word.startswith("--") or word in ctx.help_option_names:
                option = word if word in lists else None
            elif option is not None and words[-1] != option:
                words.append(option)
            words.append(word)
        return super().parse_args(ctx, words)
