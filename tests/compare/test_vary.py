"""What varies, from text; and the grid made of it."""

import pytest

from danlu.compare.grid import MOST_RUNS, check
from danlu.compare.vary import check_vary, read_settings, split_values
from danlu.errors import UsageError


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("sgd,adam", ["sgd", "adam"]),
        ("adam(beta1=0.9, beta2=0.99) , sgd", ["adam(beta1=0.9, beta2=0.99)", "sgd"]),
        ("(0.5,0.75),(0.3,)", ["(0.5,0.75)", "(0.3,)"]),
        ("none,l1(strength=1e-5) | max_norm(limit=3)", ["none", "l1(strength=1e-5) | max_norm(limit=3)"]),
        ("f(a='x,)y'),{'*': [1, 2]}", ["f(a='x,)y')", "{'*': [1, 2]}"]),
        ("a,", ["a", ""]),
    ],
)
def test_commas_inside_brackets_and_quotes_belong_to_the_value(text: str, values: list[str]) -> None:
    assert split_values(text) == values


def test_values_are_what_the_settings_take() -> None:
    found = read_settings([
        "optimizer=sgd,'adam(beta2=0.99)'", "lr=none,0.1,1e-3", "batch-size=32,all", "nesterov=true,False",
        "mix=none,mixup(alpha=0.2)",
        "milestones=(0.5,0.75),[0.3]", "rates={'*': 0, 'fc.*': 10},{}",
        "recipe=resnet20,vgg16(width=0.5) | se", "edit=none,se(reduction=8)",
    ])  # fmt: skip
    assert found == {
        "optimizer": ["sgd", "adam(beta2=0.99)"], "lr": [None, 0.1, 1e-3], "batch_size": [32, "all"], "nesterov": [True, False],
        "mix": ["", "mixup(alpha=0.2)"], "milestones": [(0.5, 0.75), (0.3,)], "rates": [{"*": 0, "fc.*": 10}, {}],
        "recipe": ["resnet20", "vgg16(width=0.5) | se"], "edit": ["", "se(reduction=8)"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("optimiser=sgd", "unknown setting 'optimiser'; did you mean optimizer"),
        ("optimizer", "write setting=value,value"),
        ("=sgd", "write setting=value,value"),
        ("optimizer=sgd,,adam", "optimizer has an empty value"),
        ("lr=fast", "lr takes a number or None, got 'fast'"),
        ("momentum=true", "momentum takes a number, got True"),
        ("milestones=0.5,0.75", "lists of shares in brackets"),
        ("mix=mixup(alpha=0.2", r"lacks a closing '\)'"),
        ("mix=mixup)", r"has a '\)' that closes nothing"),
        ("epochs=1,2", "epochs cannot vary: all runs have one budget"),
        ("time=1m", "time cannot vary"),
        ("seed=1,2", "seed cannot vary"),
    ],
)
def test_wrong_text_is_told(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        read_settings([text])


def test_axes_are_checked() -> None:
    with pytest.raises(UsageError, match="say what varies"):
        check_vary({})
    with pytest.raises(UsageError, match="a list of values, got 'sgd'"):
        check_vary({"optimizer": "sgd"})
    with pytest.raises(UsageError, match="twice"):
        check_vary({"optimizer": ["sgd", "sgd"]})
    with pytest.raises(UsageError, match="no value"):
        check_vary({"optimizer": []})
    with pytest.raises(UsageError, match="given twice"):
        read_settings(["lr=1", "lr=2"])


def test_cells_are_all_combinations_with_their_recipes() -> None:
    axes = {"edit": ["", "se(reduction=8)"], "optimizer": ["sgd", "adam"], "lr": [0.1]}
    grid = check("resnet20", axes, {"batch-size": 64}, steps=5, seed=3)
    assert [(cell.recipe, cell.config.optimizer) for cell in grid.cells] == [
        ("resnet20", "sgd"), ("resnet20", "adam"), ("resnet20 | se(reduction=8)", "sgd"), ("resnet20 | se(reduction=8)", "adam"),
    ]  # fmt: skip
    assert {(cell.config.lr, cell.config.batch_size, cell.config.steps, cell.config.seed) for cell in grid.cells} == {
        (0.1, 64, 5, 3)
    }
    assert grid.cells[3].label == "edit=se(reduction=8), optimizer=adam, lr=0.1"
    assert grid.cells[0].short == "none · sgd · 0.1"


def test_without_a_network_it_is_resnet20() -> None:
    assert {cell.recipe for cell in check(None, {"lr": [1, 2]}, None, epochs=1).cells} == {"resnet20"}
    edited = check(None, {"edit": ["se", ""]}, None, epochs=1).cells
    assert [cell.recipe for cell in edited] == ["resnet20 | se", "resnet20"]


def test_a_time_is_shared_equally() -> None:
    grid = check("resnet20", {"optimizer": ["sgd", "adam"]}, None, seeds=2, time="2m")
    shares = {cell.config.seconds for cell in grid.cells}
    assert len(shares) == 1
    assert 4 * shares.pop() == pytest.approx(120, rel=0.1)


@pytest.mark.parametrize(
    ("recipe", "vary", "settings", "budget", "says"),
    [
        ("resnet20", {"recipe": ["vgg16"]}, {}, {"epochs": 1}, "both given"),
        ("resnet20", {"lr": [1]}, {"lr": 2}, {"epochs": 1}, "both set to 2 and varied"),
        ("resnet20", {"lr": [1]}, {"edit": "se"}, {"epochs": 1}, "written as the RECIPE"),
        ("resnet20", {"lr": [1]}, {}, {}, "exactly one of epochs, steps and time, got none"),
        ("resnet20", {"lr": [1]}, {}, {"epochs": 1, "time": "1m"}, "got epochs=1, time=60"),
        ("resnet20", {"lr": [1]}, {}, {"epochs": 1, "seeds": 0}, "seeds must be"),
        ("resnet20", {"lr": [1, 2], "optimizer": ["sgd", "adam"]}, {}, {"time": "10s"}, "2 lr x 2 optimizer x 3 seeds = 12 runs"),
        ("resnet20", {"seed": [1]}, {}, {"epochs": 1}, "seed cannot vary"),
        ("resnet20", {"lr": [i + 1 for i in range(MOST_RUNS)]}, {}, {"epochs": 1}, "the grid is too large: 1000 lr"),
        ("resnet20", {"optimizer": ["sgd", "adm"]}, {}, {"epochs": 1}, "optimizer=adm: .*did you mean adam"),
        ("resnet20", {"schedule": ["step", "one_cycle"]}, {"grow_batch": True}, {"steps": 1}, "schedule=one_cycle: .*grow_batch"),
        ("resnet20", {"momentum": [0.5, 2]}, {}, {"epochs": 1}, "momentum=2: .*from 0 and below 1"),
    ],
)  # fmt: skip
def test_a_grid_that_cannot_be_is_told_before_the_images_are_read(recipe, vary, settings, budget, says) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=says):
        check(recipe, vary, settings, **budget)


def test_the_wrong_combinations_are_counted() -> None:
    with pytest.raises(UsageError, match="and 1 more of the 4 combinations"):
        check("resnet20", {"optimizer": ["sgd", "adm"], "schedule": ["step", "exp"]}, {}, epochs=1)
