"""Tool export: a trained network for other programs."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    key: Annotated[str, typer.Argument(help="A key of `models`.")],
    output: Annotated[Path | None, typer.Option(help="The file to write, instead of models/KEY.onnx.")] = None,
) -> None:
    """Write a trained network as ONNX, where onnxruntime's logits on all test images are its own but for rounding.

    The file takes `images`, uint8 (n, 28, 28), any n, as stored: 0 the
    background; scaling is inside. It gives `probabilities` and `logits`,
    float32 (n, 10). The classes' names are in its metadata.
    Example: python -m tools export lenet5
    """
    from fashion.data import read_part
    from fashion.exporting import agreement, onnx_bytes
    from fashion.files import write_bytes
    from fashion.inference import class_names, made_by, trained
    from fashion.networks import load
    from fashion.predictions import finite_logits
    from fashion.tables import printable

    weights, path = trained(key), output or Path(f"models/{key}.onnx")
    network, description, header = load(weights)
    pixels = description.architecture.pixels
    about = {"model": key, "classes": class_names(header, weights)}
    with made_by("download"):
        images = read_part(Path("data/raw"), "test").images
    reference = finite_logits(network, images, pixels).numpy()
    content = onnx_bytes(network, pixels, about)
    same, apart = agreement(content, images, reference)
    write_bytes(path, content)
    typer.echo(
        f"{printable(str(path))}: predicts as the network does on {same:,} of {len(images):,} test images; "
        f"logits of up to {abs(reference).max():.3g} are at most {apart:.2g} apart"
    )
