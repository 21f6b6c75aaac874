"""Stage check: upstream of all others, so that nothing runs on settings that are wrong."""

from pathlib import Path

# Constant, so that a change of params.yaml runs this stage and, by itself, no other.
CHECKED = Path("data/checked.txt")


def check() -> None:
    """Validate params.yaml as a whole, every architecture included.

    Example: python -m stages check
    """
    import torch

    from fashion import FashionError
    from fashion.advice import UNDO, dangling
    from fashion.files import write_text
    from fashion.networks import build
    from fashion.params import PATH, Params

    params = Params.load()
    if problem := dangling(params):
        raise FashionError(problem)
    # On the meta device layers have shapes and no content: all architectures take milliseconds.
    with torch.device("meta"):
        for key, row in params.models.items():
            try:
                build(row.layers)
            except FashionError as error:
                raise FashionError(f"{PATH}: models.{key}.{error} {UNDO}") from None
    write_text(CHECKED, "params.yaml is valid\n")
