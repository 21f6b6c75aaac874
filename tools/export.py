"""Tool export: a trained network as ONNX, for other programs."""

from pathlib import Path

import typer

from fashion.data.reading import read_part
from fashion.errors import made_by, printable
from fashion.files import write_bytes
from fashion.networks.inference import finite_logits
from fashion.settings.params import Params
from fashion.using import exporting
from fashion.using.loading import trained


def export(key: str, output: Path | None) -> None:
    """Write a trained network as ONNX and print how well it matches on the test images."""
    path = output or Path(f"models/{key}.onnx")
    network, description, header = trained(Params.load().name(key))
    pixels = description.architecture.pixels
    about = {"model": key, "classes": header["classes"]}
    with made_by("download"):
        images = read_part(Path("data/raw"), "test").images
    reference = finite_logits(network, images, pixels).numpy()
    content = exporting.onnx_bytes(network, pixels, about)
    same, apart = exporting.check(content, images, reference)
    write_bytes(path, content)
    typer.echo(
        f"{printable(str(path))}: predicts the network's class for {same:,} of {len(images):,} test images; "
        f"logits of up to {abs(reference).max():.3g} differ by at most {apart:.2g}"
    )
