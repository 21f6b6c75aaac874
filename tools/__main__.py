"""The command line of the tools: python -m tools TOOL."""

from fashion.advice import explained
from stages.__main__ import app as stages
from stages.__main__ import program
from tools import ablation, diff, export, models, predict, score, verify

app = program("What people run beside the pipeline. Example: python -m tools models lenet5")
for command in (
    models.models,
    predict.predict,
    score.score,
    export.export,
    diff.diff,
    verify.verify,
    ablation.ablation,
):
    app.command(rich_help_panel="Tools")(command)


def main() -> None:
    """Offer the stages and the tools as one command, `fashion`."""
    both = program("Rebuild, train and judge published Fashion-MNIST classifiers. Example: fashion models lenet5")
    both.registered_commands = [*stages.registered_commands, *app.registered_commands]
    with explained():
        both(prog_name="fashion")


if __name__ == "__main__":
    with explained():
        app(prog_name="python -m tools")
