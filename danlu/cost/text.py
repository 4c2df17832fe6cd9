"""Turn the numbers of a profile into words: cells, totals and advice. Nothing here measures or draws."""

from collections.abc import Sequence

from ..units import show_bytes, show_count
from .advise import Advice, percent
from .onnx_count import OnnxProfile
from .profile import Profile
from .row import Row

SAVED = {
    "macs": ("fewer", "MACs"),
    "params": ("fewer", "parameters"),
    "time": ("less", "time"),
    "peak_activation_bytes": ("less", "peak activation memory"),
}


def columns(profile: Profile) -> list[str]:
    """Column names, time last and only when measured."""
    names = ["layer", "kind", "kernel", "output", "params", "MACs", "%", "bytes", "MAC/B", "field"]
    return names + (["ms", "p10-p90", "% time"] if profile.time_ms is not None else [])


def row_cells(profile: Profile, row: Row) -> list[str]:
    """One row, in the order of `columns`."""
    kernel = grid(row.kernel)
    if row.stride and max(row.stride) > 1:
        kernel += f"/{side(row.stride)}"
    if row.groups and row.groups > 1:
        kernel += " dw" if row.depthwise else f" g{row.groups}"
    kind = row.kind if row.leaf else "+".join(row.operators)
    cells = [
        row.label,
        kind,
        kernel,
        grid(row.output[1:] if row.output else None),
        show_count(row.params) if row.params else "",
        show_count(row.macs) if row.macs else "",
        f"{row.macs / profile.macs:.1%}".rstrip("%") if row.macs else "",
        show_bytes(row.bytes) if row.bytes else "",
        f"{row.intensity:.1f}" if row.intensity else "",
        side(row.receptive),
    ]
    if profile.time_ms is not None:
        total = sum(other.median_ms or 0.0 for other in profile.rows)
        timed = row.median_ms is not None and row.p10_ms is not None and row.p90_ms is not None
        cells += (
            [f"{row.median_ms:.3f}", f"{row.p10_ms:.3f}-{row.p90_ms:.3f}", f"{(row.median_ms or 0.0) / total:.1%}".rstrip("%")]
            if timed
            else ["", "", ""]
        )
    return cells


def grid(shape: Sequence[int] | None) -> str:
    """(3, 5) -> '3x5', (64, 7, 7) -> '64x7x7', None -> ''."""
    return "x".join(str(n) for n in shape) if shape else ""


def side(shape: Sequence[float] | None) -> str:
    """One number when all sides are equal: (27.0, 27.0) -> '27', (27.0, 5.0) -> '27x5'."""
    whole = [round(n) for n in shape or ()]
    return str(whole[0]) if len(set(whole)) == 1 else grid(whole)


def summary_lines(profile: Profile) -> list[str]:
    """The totals with their conventions, then what they lack."""
    at = profile.rows[profile.peak_row].label if profile.peak_row >= 0 else "nowhere"
    made, peak = show_bytes(profile.activation_bytes), show_bytes(profile.peak_activation_bytes)
    lines = [
        "",
        f"input {grid(profile.input)}, batch {profile.batch}",
        f"{profile.params:,} parameters ({show_bytes(profile.param_bytes)})",
        f"{profile.macs:,} MACs (multiply-accumulates of convolutions and matrix products; a FLOP count is twice that)",
        f"activations {made} in all, at most {peak} alive at once (at {at})",
    ]
    if profile.time_ms is not None:
        threads = "1 thread" if profile.threads == 1 else f"{profile.threads} threads"
        lines.append(
            f"{profile.time_ms:.3g} ms in PyTorch on {profile.device}, {threads} (median of {profile.repeats}, p10-p90 "
            f"{profile.time_p10_ms:.3g}-{profile.time_p90_ms:.3g}; {profile.hooked_ms:.3g} with the hooks that time the layers)"
        )
    for item in profile.uncounted:
        reason = {
            "operator": f"operator without a formula, called {item.calls}x",
            "module": "module never called",
            "parameter": "parameter never read",
        }
        lines.append(f"not counted: {item.name} ({reason[item.what]})")
    return lines + [f"note: {note}" for note in profile.notes]


def advice_lines(advice: Advice) -> list[str]:
    """The edit (or the finding), the predicted saving, the reason."""
    why = advice.why[:1].upper() + advice.why[1:]
    if not advice.edit:
        return [f"{advice.rank}. {why}"]
    predicted = ", ".join(saved(name, share) for name, share in advice.saving.items())
    return [f"{advice.rank}. {advice.edit}", *([f"predicted: {predicted}"] if predicted else []), why]


def saved(name: str, share: float) -> str:
    """('macs', 0.75) -> '75 % fewer MACs'; ('time', -3.0) -> '4x the time'."""
    few, what = SAVED[name]
    if share <= -1:
        return f"{1 - share:.3g}x the {what}"
    return f"{percent(abs(share))} {few if share > 0 else 'more'} {what}"


def onnx_line(profile: OnnxProfile) -> str:
    """Totals of an ONNX file in one line."""
    lacking = "".join(f"; not counted: {item['name']} ({item['calls']}x)" for item in profile.uncounted)
    return (
        f"input {grid(profile.input)}; {profile.params:,} parameters; {profile.macs:,} MACs; "
        f"file {show_bytes(profile.size_bytes)}{lacking}"
    )
