"""Stage check: upstream of all others, so that nothing runs on settings that are wrong."""

from pathlib import Path

# Constant, so that a change of params.yaml runs this stage and, by itself, no other.
CHECKED = Path("data/checked.txt")
# The order of each network's layers: DVC compares mappings without theirs, and would retrain nothing.
LAYERS = Path("data/layers")


def check() -> None:
    """Validate params.yaml as a whole, every architecture included.

    Example: python -m stages check
    """
    import torch

    from fashion import FashionError
    from fashion.advice import dangling, of_model
    from fashion.files import write_json, write_text
    from fashion.networks import build
    from fashion.params import PATH, UNDO, Params

    params = Params.load()
    if problem := dangling(params):
        raise FashionError(problem)
    for key, row in params.models.items():
        # On the meta device layers have shapes and no content: all architectures take milliseconds.
        with torch.device("meta"), of_model(key):
            build(row.layers)
    for key, row in params.models.items():
        try:
            write_json(LAYERS / f"{key}.json", row.layers)
        except ValueError:
            raise FashionError(f"{PATH}: models.{key}.layers has a number that is not finite. {UNDO}") from None
    write_text(CHECKED, "params.yaml is valid\n")
