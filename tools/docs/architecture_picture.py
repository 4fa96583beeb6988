"""Draw ``docs/images/architecture.png``: the rooms of ``bundle/scripts``, their files, and who imports whom.

.venv/bin/python tools/docs/architecture_picture.py

Everything in the picture is read off the sources. A room stands one floor above the highest room that it imports; an
arrow that follows from others (a room imports what an imported room imports) is left out.
"""

from __future__ import annotations

import ast
import itertools
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch  # noqa: E402
from matplotlib.path import Path as Curve  # noqa: E402
from PIL import Image  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "bundle" / "scripts"
PICTURE = ROOT / "docs" / "images" / "architecture.png"
GROUND = "ground"
FAMILIES = {  # what rooms are about -> rooms, fill, edge
    "image in": (("reading", "windowing", "transforms", "data"), "#e3effa", "#2f6fa7"),
    "the method": (("encoders", "networks", "generation", "training", "checkpoints"), "#fdeecb", "#b3780a"),
    "beside the method": (("concepts", "confidence", "explanation", "metrics", "provenance"), "#ece6f6", "#6f4fa3"),
    "captions out": (
        ("captioning", "outputs", "predictor", "inferers", "commands", "studies"),
        "#e1f2e6",
        "#2f8050",
    ),
    "foundations": ((GROUND, "kernels", "weights"), "#eeeeec", "#77776f"),
}
WIDTH, LINE, COLUMN_GAP, PAD, HEAD, CARD_GAP, FLOOR_GAP = 13.0, 0.185, 0.16, 0.13, 0.56, 0.2, 0.52  # inches
LETTER = 0.077  # inches of a letter of a file's name, on average


@dataclass
class Card:
    """A room in the picture: place in inches, from the lower left."""

    room: str
    names: list[str]
    columns: list[list[str]]
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0


def loose_modules() -> list[str]:
    """Modules that stand in no room and that import none: the ground."""
    names = [path.stem for path in sorted(SCRIPTS.glob("*.py")) if path.stem != "__init__"]
    modules = {name: set(_imported(SCRIPTS / f"{name}.py")) for name in names}
    ground: set[str] = set()
    for _ in names:
        ground |= {name for name, imports in modules.items() if imports <= ground}
    return sorted(ground)


def _imported(path: Path) -> Iterator[str]:
    """First part below ``scripts`` of each import, those for types only left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guards = [n for n in ast.walk(tree) if isinstance(n, ast.If) and getattr(n.test, "id", "") == "TYPE_CHECKING"]
    for_types = {inner for guard in guards for inner in ast.walk(guard)}
    for node in ast.walk(tree):
        if node in for_types or not isinstance(node, ast.ImportFrom):
            continue
        module = (node.module or "").split(".")
        if module[0] != "scripts":
            continue
        for name in node.names:
            first = [*module[1:], name.name][0]
            if first not in ("loads_submodules", "BUNDLE"):
                yield first


def room_imports() -> dict[str, set[str]]:
    """Room -> rooms that it imports, the ground aside."""
    ground = set(loose_modules())
    uses: dict[str, set[str]] = {GROUND: set()}
    for path in sorted(SCRIPTS.rglob("*.py")):
        room = path.relative_to(SCRIPTS).with_suffix("").parts[0]
        if room != "__init__" and room not in ground:
            uses.setdefault(room, set()).update(set(_imported(path)) - ground - {room})
    return uses


def floors(uses: dict[str, set[str]]) -> list[list[str]]:
    """Rooms by floor, the ground first."""
    level: dict[str, int] = {GROUND: 0}

    def of(room: str) -> int:
        if room not in level:
            level[room] = 1 + max([0, *(of(other) for other in uses[room])])
        return level[room]

    for room in uses:
        of(room)
    return [sorted(room for room in uses if level[room] == floor) for floor in range(max(level.values()) + 1)]


def direct(uses: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Imports that do not follow from others."""
    reach: dict[str, set[str]] = {}

    def below(room: str) -> set[str]:
        if room not in reach:
            reach[room] = set().union(*[{other} | below(other) for other in uses[room]])
        return reach[room]

    return [
        (room, other)
        for room in uses
        for other in sorted(uses[room])
        if not any(other in below(between) for between in uses[room])
    ]


def files_of(room: str) -> list[str]:
    """Names in a room's card: its modules, then its inner rooms with the number of their modules."""
    if room == GROUND:
        return loose_modules()
    folder = SCRIPTS / room
    if not folder.is_dir():
        return []
    inner = [
        f"{path.name}/  {len([f for f in path.glob('*.py') if f.stem != '__init__'])} files"
        for path in sorted(folder.iterdir())
        if path.is_dir() and any(path.glob("*.py"))
    ]
    return [path.stem for path in sorted(folder.glob("*.py")) if not path.stem.startswith("__")] + inner


def ordered(rows: list[list[str]], arrows: list[tuple[str, str]]) -> list[list[str]]:
    """The order within each floor that makes arrows short: each floor in turn, until nothing changes."""
    rows = [list(row) for row in rows]

    def place(row: list[str]) -> dict[str, float]:
        sizes = [max(len(files_of(room)), 3) for room in row]
        starts = itertools.accumulate([0, *sizes])
        return {room: (s + n / 2) / sum(sizes) for room, s, n in zip(row, starts, sizes, strict=False)}

    def cost() -> float:
        at = {room: x for row in rows for room, x in place(row).items()}
        return sum((at[a] - at[b]) ** 2 for a, b in arrows)

    for _ in range(6):
        for row in rows:
            best = min(itertools.permutations(list(row)), key=lambda order: (_try(row, order, cost), order))
            row[:] = best
    return rows


def _try(row: list[str], order: tuple[str, ...], cost: Callable[[], float]) -> float:
    row[:] = order
    return cost()


def _columns(names: list[str], lines: int) -> list[list[str]]:
    return [names[i : i + lines] for i in range(0, len(names), lines)]


def _width(card: Card) -> float:
    inner = sum(max(map(len, column)) * LETTER for column in card.columns) + COLUMN_GAP * max(0, len(card.columns) - 1)
    return max(inner, (len(card.room) + 3) * 0.125, 1.0) + 2 * PAD


def laid_out(rows: list[list[str]]) -> tuple[dict[str, Card], float]:
    """Cards at their places, and the height of the picture."""
    cards: dict[str, Card] = {}
    y = 0.15
    for row in rows:
        for lines in range(1, 60):
            made = [Card(room, files_of(room), _columns(files_of(room), lines)) for room in row]
            free = WIDTH - 0.3 - CARD_GAP * (len(made) - 1) - sum(map(_width, made))
            if free >= 0:
                break
        x = 0.15
        for card in made:
            card.x, card.y = x, y
            card.width = _width(card) + free / len(made)
            card.height = HEAD + LINE * max((len(column) for column in card.columns), default=0) + PAD * 0.6
            x += card.width + CARD_GAP
            cards[card.room] = card
        tallest = max(card.height for card in made)
        for card in made:
            card.height = tallest
        y += tallest + FLOOR_GAP
    return cards, y - FLOOR_GAP


def family(room: str) -> tuple[str, str]:
    """Fill and edge colour of a room."""
    return next(((fill, edge) for rooms, fill, edge in FAMILIES.values() if room in rooms), ("#ffffff", "#444444"))


def purpose(room: str) -> str:
    """What the room's docstring opens with."""
    if room == GROUND:
        return "everything stands on these"
    file = SCRIPTS / room / "__init__.py" if (SCRIPTS / room).is_dir() else SCRIPTS / f"{room}.py"
    text = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").replace("`", "").replace("\n", " ")
    sentence = text.split(". ")[0].rstrip(".")
    head, _, rest = sentence.partition(": ")
    return rest if len(head.split()) == 1 and rest else head  # "Data: datalists, ..." says it after the colon


def draw_card(axis: Axes, card: Card) -> None:
    fill, edge = family(card.room)
    shape = FancyBboxPatch(
        (card.x, card.y), card.width, card.height, boxstyle="round,pad=0,rounding_size=0.09",
        facecolor=fill, edgecolor=edge, linewidth=1.4, zorder=3,
    )  # fmt: skip
    axis.add_patch(shape)
    top = card.y + card.height
    name = card.room if (SCRIPTS / card.room).is_dir() or card.room == GROUND else f"{card.room}.py"
    axis.text(card.x + PAD, top - 0.22, name, fontsize=13, weight="bold", color=edge, va="center", zorder=4)
    letters = int((card.width - 2 * PAD) / 0.062)
    lines = textwrap.wrap(purpose(card.room), letters, max_lines=1 if card.columns else 4, placeholder=" …")
    axis.text(
        card.x + PAD, top - 0.36, "\n".join(lines), fontsize=8.5, style="italic", color="#555555", va="top", zorder=4,
        linespacing=1.45,
    )  # fmt: skip
    x = card.x + PAD
    for column in card.columns:
        for line, text in enumerate(column):
            weight = "bold" if "/" in text else "normal"
            axis.text(
                x, top - HEAD - LINE * (line + 0.5), text, fontsize=9, weight=weight, color="#222222", va="center",
                zorder=4,
            )  # fmt: skip
        x += max(map(len, column)) * LETTER + COLUMN_GAP


def draw_arrows(axis: Axes, cards: dict[str, Card], arrows: list[tuple[str, str]]) -> None:
    """From the lower edge of the room that imports to the upper edge of the imported one, behind rooms between."""

    def middle(room: str) -> float:
        return cards[room].x + cards[room].width / 2

    for source, target in arrows:
        outgoing = sorted((b for a, b in arrows if a == source), key=middle)
        incoming = sorted((a for a, b in arrows if b == target), key=middle)
        start = cards[source].x + cards[source].width * (outgoing.index(target) + 1) / (len(outgoing) + 1)
        end = cards[target].x + cards[target].width * (incoming.index(source) + 1) / (len(incoming) + 1)
        high, low = cards[source].y, cards[target].y + cards[target].height
        bend = min(0.5, (high - low) / 2)
        curve = Curve(
            [(start, high), (start, high - bend), (end, low + bend), (end, low + 0.02)],
            [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4],
        )
        colour = family(source)[1]
        look = {"mutation_scale": 11, "color": colour, "linewidth": 1.3}
        axis.add_patch(FancyArrowPatch(path=curve, arrowstyle="-|>", zorder=2, **look))
        axis.add_patch(
            FancyArrowPatch(path=curve, arrowstyle="-", zorder=3.5, alpha=0.16, **look)
        )  # seen through cards


def draw(output: Path = PICTURE) -> None:
    uses = room_imports()
    arrows = direct(uses)
    cards, height = laid_out(ordered(floors(uses), arrows))
    figure, axis = plt.subplots(figsize=(WIDTH, height + 0.6), facecolor="white")
    axis.set_xlim(0, WIDTH)
    axis.set_ylim(0, height + 0.6)
    axis.set_axis_off()
    figure.subplots_adjust(0, 0, 1, 1)
    draw_arrows(axis, cards, arrows)
    for card in cards.values():
        draw_card(axis, card)
    x = 0.15
    for name, (_, fill, edge) in FAMILIES.items():
        axis.add_patch(FancyBboxPatch((x, height + 0.22), 0.2, 0.2, boxstyle="round,pad=0,rounding_size=0.05",
                                      facecolor=fill, edgecolor=edge, linewidth=1.2))  # fmt: skip
        axis.text(x + 0.3, height + 0.32, name, fontsize=10.5, va="center", color="#222222")
        x += 0.6 + len(name) * 0.095
    axis.text(
        WIDTH - 0.15, height + 0.32, "arrow: imports (what follows from others is left out)", fontsize=9.5,
        ha="right", va="center", color="#555555", style="italic",
    )  # fmt: skip
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=140)
    plt.close(figure)
    Image.open(output).convert("RGB").quantize(96).save(output, optimize=True)


if __name__ == "__main__":
    draw(*map(Path, sys.argv[1:]))
