"""The command line of the stages: python -m stages STAGE [KEY]."""

import typer

from fashion.advice import explained
from fashion.running.lifetime import end_when_told
from stages import check, download, evaluate, leaderboard, report, results, samples, split, train


def program(words: str) -> typer.Typer:
    """A command line of several commands that shows its help when none is given."""
    return typer.Typer(help=words, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


app = program("The stages that DVC runs, one command each. Example: python -m stages train lenet5")
for command in (
    check.check,
    download.download,
    samples.samples,
    split.split,
    train.train,
    evaluate.evaluate,
    report.report,
    leaderboard.leaderboard,
    results.results,
):
    app.command(rich_help_panel="Stages")(command)

if __name__ == "__main__":
    with explained():
        end_when_told()
        app(prog_name="python -m stages")
