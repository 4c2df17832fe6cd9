"""Draw a profile and its advice for people; the numbers are formatted in text.py."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from .advise import Advice
from .onnx_count import OnnxProfile
from .profile import Profile
from .text import advice_lines, columns, grid, onnx_line, row_cells, summary_lines

TEXT_COLUMNS = ("layer", "kind")
EXPENDABLE = ("p10-p90", "MAC/B", "field", "kernel", "bytes", "kind")  # what goes first on a narrow terminal
PIPE_WIDTH = 160


def make_console() -> Console:
    """The console of stdout; into a pipe or a file lines are wide, since nobody's window bounds them."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


def print_profile(profile: Profile, *, sort: str = "", top: int | None = None, console: Console | None = None) -> None:
    """The table of layers in running order or by `sort`, then the totals and what they lack."""
    console = console or make_console()
    order = profile.ranked(sort)
    names = columns(profile)
    cells = [row_cells(profile, profile.rows[i]) for i in order[:top]]
    hidden = _to_hide(names, cells, console.width)
    table = Table(box=None, pad_edge=False, header_style="bold")
    shown = [i for i, name in enumerate(names) if name not in hidden]
    for i in shown:
        table.add_column(names[i], justify="left" if names[i] in TEXT_COLUMNS else "right", no_wrap=True)
    for row in cells:
        table.add_row(*(row[i] for i in shown))
    console.print(table, markup=False)
    if top is not None and len(order) > top:
        console.print(f"... {len(order) - top} more layers", highlight=False, markup=False, soft_wrap=True)
    if hidden:
        console.print(f"hidden for want of width: {', '.join(hidden)}", highlight=False, markup=False, soft_wrap=True)
    for line in summary_lines(profile):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _to_hide(names: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> list[str]:
    """The least needed columns that must go for the rest to fit."""
    wide = {name: max([len(name), *(len(row[i]) for row in cells)]) + 1 for i, name in enumerate(names)}
    hidden: list[str] = []
    for name in EXPENDABLE:
        if sum(wide.values()) - 1 <= width:
            break
        if name in wide:
            hidden.append(name)
            del wide[name]
    return hidden


def print_onnx(profile: OnnxProfile, *, console: Console | None = None) -> None:
    """The table of an ONNX file's nodes and its totals."""
    console = console or make_console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("node", "kind", "input", "output", "params", "MACs"):
        table.add_column(name, justify="right" if name in ("params", "MACs") else "left", no_wrap=True)
    for row in profile.rows:
        table.add_row(row.name, row.kind, grid(row.input), grid(row.output), f"{row.params:,}", f"{row.macs:,}")
    console.print(table, markup=False)
    console.print(onnx_line(profile), highlight=False, markup=False, soft_wrap=True)


def print_advice(advice: Sequence[Advice], *, console: Console | None = None) -> None:
    """One numbered paragraph a suggestion: the edit, what it is predicted to save, and why."""
    console = console or make_console()
    for item in advice:
        first, *rest = advice_lines(item)
        console.print(first, highlight=False, markup=False, style="bold", soft_wrap=True)
        for line in rest:
            console.print(f"   {line}", highlight=False, markup=False, soft_wrap=True)
