"""Stage check: upstream of all others, so that nothing runs on settings that are wrong."""

import json
import shutil
from pathlib import Path

# What other stages depend on in place of params.yaml and the code: it changes only where their results would.
INPUTS = Path("data/inputs")


def check() -> None:
    """Validate params.yaml as a whole, every architecture included, and write what each stage depends on.

    Each training gets its description, each stage the fingerprint of its code, `split` the counts of each split.
    Example: python -m stages check
    """
    from fashion import FashionError
    from fashion.advice import dangling, of_model
    from fashion.files import write_text
    from fashion.fingerprint import fingerprint
    from fashion.params import PATH, UNDO, Params

    params = Params.load()
    if problem := dangling(params):
        raise FashionError(problem)

    # Seconds to import, so that a mistake in the settings is found sooner.
    import torch

    from fashion.networks import build

    for key, row in params.models.items():
        # On the meta device layers have shapes and no content: all architectures take milliseconds.
        with torch.device("meta"), of_model(key):
            build(row.layers)
    files = {}
    for name in (*params.models, *params.repeats):
        description = params.describe(name)
        try:
            files[f"train/{name}.json"] = description.text
        except ValueError:
            raise FashionError(f"{PATH}: models.{name}.layers has a number that is not finite. {UNDO}") from None
        except TypeError as error:
            raise FashionError(f"{PATH}: models.{name}.layers cannot be written as JSON: {error}. {UNDO}") from None
    splits = {key: params.splits[row.split].model_dump() for key, row in params.models.items()}
    files["splits.json"] = json.dumps(splits, indent=2) + "\n"
    # The fingerprint of `train` is in each description.
    for stage in {path.stem for path in Path(__file__).parent.glob("[!_]*.py")} - {"check", "train"}:
        files[f"code/{stage}.txt"] = f"{fingerprint(stage)}\n"
    # What is no longer a row goes too, as it does where DVC runs this stage.
    shutil.rmtree(INPUTS, ignore_errors=True)
    for name, text in files.items():
        write_text(INPUTS / name, text)
