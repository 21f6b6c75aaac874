"""The command line of the benchmarks: python -m benchmarks COMMAND."""

from benchmarks.accuracy import accuracy
from benchmarks.pipeline import pipeline
from benchmarks.training import training
from fashion.advice import explained
from stages.__main__ import program

app = program("Side-by-side timings, as ratios measured in one run. Example: python -m benchmarks training cnn")
for command in (training, accuracy, pipeline):
    app.command()(command)

if __name__ == "__main__":
    with explained():
        app(prog_name="python -m benchmarks")
