"""The order in which candidates are measured, and when a teacher is worth its time."""

from danlu.data.spec import Input
from danlu.edits import parse
from danlu.search.measure import Cost
from danlu.search.space import Proposal, proposals
from danlu.search.survey import Family, group
from danlu.search.trainer import affords_teacher
from danlu.zoo import create

INPUT = Input((32, 32), 3, (0.5,) * 3, (0.2,) * 3)


def cost(size: float, latency: float, macs: float = 1e6) -> Cost:
    return Cost("int8", "f.onnx", round(size), latency, latency, latency, latency, round(macs), 1000)


def family(*widths: float) -> Family:
    return Family("f", [Proposal(f"net{w}", (32, 32), "f", width=w) for w in widths])


def weigh(value: Cost) -> float:
    """Against a limit of 100 KB."""
    return value.size_bytes / 100_000


def test_the_middle_one_is_measured_first() -> None:
    proposal = family(4.0, 2.0, 1.0).next(weigh, (1.0,))
    assert proposal is not None
    assert proposal.width == 2.0


def test_predictions_follow_the_square_of_the_width_and_of_the_resolution() -> None:
    one = Proposal("a", (32, 32), "f", width=1.0)
    found = Family("f", [], [(one, cost(50_000, 1.0, 1e6))]).predicted(Proposal("b", (64, 64), "f", width=2.0))
    assert (found.size_bytes, found.macs) == (200_000, 16_000_000)
    assert 1.0 < found.latency_ms < 16.0


def test_then_the_largest_that_is_predicted_to_fit() -> None:
    names = family(4.0, 2.0, 1.0, 0.5, 0.25)
    first = names.next(weigh, (1.0,))
    assert first is not None
    names.waiting.remove(first)
    names.measured.append((first, cost(30_000, 1.0)))
    # 30 KB at width 1: 120 KB at 2 overruns even the tolerance, 7.5 KB at 0.5 fits.
    second = names.next(weigh, (1.0,))
    assert second is not None
    assert second.width == 0.5


def test_when_nothing_fits_the_smallest_is_tried_once() -> None:
    names = family(4.0, 2.0, 1.0)
    names.measured.append((names.waiting.pop(1), cost(1e9, 1.0)))
    smallest = names.next(weigh, (1.0,))
    assert smallest is not None
    assert smallest.width == 1.0
    names.waiting.remove(smallest)
    names.measured.append((smallest, cost(1e9, 1.0)))
    assert names.next(weigh, (1.0,)) is None


def test_every_proposal_of_the_space_is_a_recipe_that_builds() -> None:
    found = proposals(INPUT, "resnet8 | fit_input(size=32)")
    assert len({p.recipe for p in found}) == len(found)
    for proposal in found:
        if not proposal.pruned and proposal.width <= 0.5:
            create(proposal.recipe, num_classes=10, in_channels=3)
        assert parse(proposal.recipe)
    grey = proposals(Input((28, 28), 1, (0.5,), (0.2,)), None)
    assert {"lenet5_caffe", "lenet_300_100"} <= {p.family for p in grey}
    assert not {"lenet5_caffe", "lenet_300_100"} & {p.family for p in found}


def test_families_hold_their_members_large_to_small() -> None:
    for members in group(proposals(INPUT, None), [], weigh):
        scales = [p.scale for p in members.waiting]
        assert scales == sorted(scales, reverse=True)


def test_a_teacher_is_paid_for_only_with_time_to_spare() -> None:
    # A teacher trained at 300 images/s with 3 x 100 M MACs a step: a student of 20 M costs 60 + 100, so 562 images/s.
    common = {"images": 10_000, "teacher_speed": 300.0, "teacher_macs": 100_000_000, "macs": 20_000_000}
    assert not affords_teacher(seconds=600, **common)
    assert affords_teacher(seconds=1200, **common)
