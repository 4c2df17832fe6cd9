"""danlu view NAME MODEL DATA: what a trained network does when its images, its weights or its blocks are changed."""

from pathlib import Path
from typing import Annotated

import typer

from .common import Device, Json, Quiet, Seed, check_device, give, say, verb


def run(
    name: Annotated[str, typer.Argument(help="A view, with options: 'translation(shift=8)'; see `danlu list views`.")],
    model: Annotated[Path, typer.Argument(help="A run folder, or a saved model's .safetensors or .danlu.")],
    data: Annotated[str, typer.Argument(help="Folder or archive of class folders, CSV, IDX, .npz, or `digits`.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    images: Annotated[int | None, typer.Option(min=1, help="Images to look at, at random; a number of the view's own.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The page, an .html file; view-NAME.html beside the model if not given.")
    ] = None,
    trust: Annotated[bool, typer.Option("--trust", help="Run the module:function that a saved recipe names.")] = False,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Look at the robustness of a network, or at its shape: numbers, and a page with figures that needs only a browser."""
    with verb():
        from ..errors import UsageError
        from ..spec import read
        from ..views import look, views, write_page

        spec = read(views, name)
        if model.suffix.lower() == ".onnx":
            raise UsageError(
                f"a view looks inside a network, which an exported file does not allow; give the run folder, got {model}"
            )
        if out is not None and out.suffix != ".html":
            raise UsageError(f"--out must end in .html, got {out}")
        check_device(device)
        from ..codec import load_saved
        from .evaluate import images_for

        saved = load_saved(model, trust=trust)
        source = images_for(data, saved.input, saved.classes, model, seed)
        say(f"{source.name}, {split}: {spec.entry.name} ...", quiet)
        found = look(spec, saved.model, source, split=split, images=images, seed=seed, device=device)
        page = out or (model if model.is_dir() else model.parent) / f"view-{spec.entry.name}.html"
        facts = [
            ("Network", saved.recipe), ("Model", str(model)), ("View", name), ("Data", f"{data}, {split}"),
            ("Images", "at most " + str(images or spec.entry.facts["images"])), ("Seed", str(seed)), ("Device", device),
            ("Source", spec.entry.facts["paper"]),
        ]  # fmt: skip
        write_page(found, page, f"{spec.entry.name} of {saved.recipe}", spec.entry.summary, facts)
        value = {
            "view": name, "model": str(model), "recipe": saved.recipe, "data": data, "split": split, "said": list(found.said),
            "values": found.values, "page": str(page),
        }  # fmt: skip
        give(value, as_json, lambda: show(found.said, page))


def show(said: tuple[str, ...], page: Path) -> None:
    """What was seen, and where the figure is."""
    for line in said:
        print(line)
    print(f"Page: {page}")
