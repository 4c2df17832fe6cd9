"""A chain of edits: which steps are fine-tuned, what is refused before anything is trained, and that it goes on where it was."""

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from danlu import TrainConfig, create, load_data
from danlu.edits import parse
from danlu.encodings import encoded, settled
from danlu.errors import UsageError
from danlu.search.chain import Editor, parts, tuning, walk
from danlu.search.ladder import LADDER

SOURCE = load_data("digits")


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return create("lenet_300_100(size=8, width=0.25)", num_classes=10, in_channels=1, seed=0)


def test_steps_that_change_what_the_net_computes_are_fine_tuned() -> None:
    dense = create("resnet8 | fit_input(size=8)", num_classes=10, in_channels=1, seed=0)
    calls = parse("prune_channels(ratio=0.3) | fold_bn | prune(sparsity=0.9) | share(bits=4)")
    assert Editor(SOURCE).rehearse(dense, calls) == [True, False, True, True]


@pytest.mark.parametrize(
    ("chain", "says"),
    [
        ("prune(sparsity=1.5)", "below 1"),
        ("prune(sparsity=0.9) | share(bits=40)", "from 1 to"),
        ("prune(sparsity={'fc9': 0.5})", "fc9"),
        ("prune(sparsity=0.9, schedule='gradual')", "give it time or epochs"),
    ],
)
def test_what_cannot_be_done_is_said_before_training(net: nn.Module, chain: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Editor(SOURCE).rehearse(net, parse(chain), trained=False)


def test_sizes_are_known_without_training_also_of_gradual_steps(net: nn.Module) -> None:
    done = Editor(SOURCE).all_at_once(net, parse("prune(sparsity=0.9, schedule='gradual') | share(bits=4)"))
    zeros = sum(int((m.weight == 0).sum()) for m in done.modules() if isinstance(m, nn.Linear))
    total = sum(m.weight.numel() for m in done.modules() if isinstance(m, nn.Linear))
    assert zeros / total == pytest.approx(0.9, abs=0.005)
    assert settled(done)


def test_encoded_weights_are_tuned_by_adam_and_masked_ones_as_any_net(net: nn.Module) -> None:
    editor, base = Editor(SOURCE), TrainConfig(steps=1)
    pruned = editor.edited(net, parse("prune(sparsity=0.5)")[0]).model
    shared = editor.edited(pruned, parse("share(bits=3)")[0]).model
    assert tuning(shared, 1000, base).weight_decay == 0
    assert tuning(shared, 1000, base).optimizer == "adamw"
    dense = create("resnet8 | fit_input(size=8)", num_classes=10, in_channels=1)
    assert tuning(dense, 1000, base, 0.003).lr == 0.003
    assert tuning(dense, 1000, base).optimizer == "sgd"
    assert {tuple(kinds) for kinds in parts(pruned).values()} == {("Mask",)}


class Dies(Exception):
    """The process ended here."""


def test_an_interrupted_chain_goes_on_and_repeats_nothing(net: nn.Module, tmp_path: Path) -> None:
    chain = str(LADDER[0])
    shipped: list[str] = []

    def run(fail_at: str | None) -> tuple[nn.Module, Any]:
        def ship(k: int, name: str, at: nn.Module, before: bool) -> list[dict[str, Any]]:
            if name == fail_at:
                raise Dies
            shipped.append(name)
            return [] if before else [{"name": name, "zeros": sum(int((m.weight == 0).sum()) for _, m, _, _ in encoded(at))}]

        editor = Editor(SOURCE)
        return walk(net, chain, [True, True], tmp_path, editor, net, lambda k: TrainConfig(steps=3, precision="fp32"), ship)

    first, second = (str(call) for call in parse(chain))
    with pytest.raises(Dies):
        run(f"{second}, fine-tuned")
    assert shipped == [first, f"{first}, fine-tuned", second]
    shipped.clear()
    done, progress = run(None)
    assert shipped == [second, f"{second}, fine-tuned"]
    assert [row["name"] for row in progress.rows] == [f"{first}, fine-tuned", f"{second}, fine-tuned"]
    assert progress.rows[0]["zeros"] <= progress.rows[1]["zeros"]
    assert done.danlu_recipe == f"lenet_300_100(size=8, width=0.25) | {chain}"
    assert progress.done == 2
