"""Pictures that are no medical images: photographs of packages; drawings, charts, screens, pages, noise, patterns.

    .venv/bin/python benchmarks/strange_pictures.py FOLDER [--count 500] [--first 0] [--photographs FOLDER]

writes them as PNG, to look at or to fit on (`scripts.studies.fit_familiarity`). Every picture is made from its number
alone, so equal numbers give equal pictures. Half of each kind are grey: colour would give the rest away.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import math
import random
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

__all__ = ["KINDS", "photographs", "strange_pictures"]

PHOTOGRAPHS = {  # package -> files in it
    "matplotlib": ["mpl-data/sample_data/grace_hopper.jpg"],
    "sklearn": ["datasets/images/china.jpg", "datasets/images/flower.jpg"],
    "skimage": [
        f"data/{name}" for name in (
            "astronaut.png", "brick.png", "camera.png", "chelsea.png", "clock_motion.png", "coffee.png", "coins.png",
            "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png",
            "page.png", "retina.jpg", "rocket.jpg", "text.png", "logo.png", "color.png",
        )
    ],
}  # fmt: skip
WORDS = (
    "the", "of", "and", "to", "in", "is", "that", "for", "it", "was", "with", "on", "be", "by", "at", "from", "this",
    "have", "or", "one", "had", "not", "but", "what", "all", "were", "when", "we", "there", "can", "an", "your",
    "their", "said", "if", "do", "will", "each", "about", "how", "up", "out", "them", "then", "she", "many", "some",
)  # fmt: skip


def photographs() -> list[Path]:
    """The photographs and scans that installed packages ship."""
    found = []
    for package, files in PHOTOGRAPHS.items():
        spec = importlib.util.find_spec(package)
        folder = Path(spec.origin).parent if spec and spec.origin else None
        found += [] if folder is None else [folder / file for file in files if (folder / file).is_file()]
    return found


def strange_pictures(count: int = 500, first: int = 0) -> Iterator[tuple[str, Image.Image]]:
    """Pairs of kind and RGB picture, the kinds in turn, each picture another; ``first``: the number of the first."""
    kinds = list(KINDS)
    for number in range(first, first + count):
        kind = kinds[number % len(kinds)]
        rng = random.Random(f"{kind} {number}")
        picture = KINDS[kind](rng, number // len(kinds)).convert("RGB")
        if (number // len(kinds)) % 2:
            picture = ImageOps.grayscale(picture).convert("RGB")
        yield kind, picture


def on_ground(picture: Image.Image, number: int) -> Image.Image:
    """Without transparency, on black, white or grey in turn; in colour or in grey in turn."""
    whole = picture.convert("RGBA")
    ground = Image.new("RGBA", whole.size, ((0, 0, 0, 255), (255, 255, 255, 255), (128, 128, 128, 255))[number % 3])
    plain = Image.alpha_composite(ground, whole).convert("RGB")
    return ImageOps.grayscale(plain).convert("RGB") if number % 2 else plain


@cache
def _opened(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


def _photograph(rng: random.Random, number: int) -> Image.Image:
    """A whole photograph in colour and in grey, then parts of it."""
    paths = photographs()
    picture = _opened(paths[(number // 2) % len(paths)])
    if number // 2 < len(paths):
        return picture
    width, height = picture.size
    side = rng.uniform(0.4, 0.8)
    left, top = rng.uniform(0, 1 - side) * width, rng.uniform(0, 1 - side) * height
    part = picture.crop((int(left), int(top), int(left + side * width), int(top + side * height)))
    return ImageOps.mirror(part) if rng.random() < 0.5 else part


def _colour(rng: random.Random) -> tuple[int, int, int]:
    return tuple(rng.randrange(256) for _ in range(3))


def _font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size)


def _drawing(rng: random.Random, number: int) -> Image.Image:
    return (_sunset, _house, _face, _shapes)[number // 2 % 4](rng)


def _sunset(rng: random.Random) -> Image.Image:
    """Sky, sun and sea."""
    picture = Image.new("RGB", (640, 480))
    draw, horizon = ImageDraw.Draw(picture), rng.randrange(220, 330)
    top, low = _colour(rng), (255, rng.randrange(100, 200), rng.randrange(40, 120))
    for y in range(horizon):
        draw.line([(0, y), (640, y)], fill=tuple(int(a + (b - a) * y / horizon) for a, b in zip(top, low, strict=True)))
    x, radius = rng.randrange(120, 520), rng.randrange(30, 80)
    draw.ellipse([x - radius, horizon - radius, x + radius, horizon + radius], fill=(255, 230, 120))
    draw.rectangle([0, horizon, 640, 480], fill=(20, rng.randrange(20, 80), rng.randrange(60, 140)))
    for _ in range(25):
        y = rng.randrange(horizon, 480)
        half = rng.randrange(5, 60)
        draw.line([(x - half, y), (x + half, y)], fill=(240, 190, 110), width=2)
    return picture


def _house(rng: random.Random) -> Image.Image:
    picture = Image.new("RGB", (512, 512), (190, 220, 250))
    draw = ImageDraw.Draw(picture)
    draw.rectangle([0, 380, 512, 512], fill=(90, 160, 70))
    for _ in range(rng.randrange(1, 4)):
        x, y, w, h = rng.randrange(20, 340), rng.randrange(220, 320), rng.randrange(90, 180), rng.randrange(80, 140)
        draw.rectangle([x, y, x + w, y + h], fill=_colour(rng), outline="black", width=3)
        draw.polygon([(x - 10, y), (x + w + 10, y), (x + w // 2, y - 80)], fill=_colour(rng), outline="black")
        draw.rectangle([x + 15, y + 20, x + 45, y + 50], fill="white", outline="black", width=2)
        draw.rectangle([x + w - 45, y + 30, x + w - 15, y + h], fill=(100, 60, 30))
    for _ in range(rng.randrange(1, 6)):
        x, y = rng.randrange(512), rng.randrange(330, 400)
        draw.rectangle([x - 6, y, x + 6, y + 60], fill=(100, 70, 40))
        draw.ellipse([x - 35, y - 60, x + 35, y + 10], fill=(30, rng.randrange(90, 160), 40))
    return picture


def _face(rng: random.Random) -> Image.Image:
    """Line drawing of a face on paper."""
    picture = Image.new("RGB", (480, 560), (252, 250, 244))
    draw, ink, width = (
        ImageDraw.Draw(picture),
        _colour(rng) if rng.random() < 0.5 else (20, 20, 20),
        rng.randrange(2, 8),
    )
    draw.ellipse([60, 60, 420, 500], outline=ink, width=width)
    for x in (170, 310):
        size = rng.randrange(15, 40)
        draw.ellipse([x - size, 210 - size // 2, x + size, 210 + size // 2], outline=ink, width=width)
        draw.ellipse([x - 6, 204, x + 6, 216], fill=ink)
        draw.arc([x - 45, 150, x + 45, 210], 200, 340, fill=ink, width=width)
    draw.line([(240, 230), (220, 320), (250, 325)], fill=ink, width=width)
    draw.arc([160, 330, 320, rng.randrange(390, 450)], 10, 170, fill=ink, width=width)
    for _ in range(rng.randrange(0, 40)):
        x = rng.randrange(80, 400)
        draw.line([(x, 90), (x + rng.randrange(-30, 30), rng.randrange(10, 60))], fill=ink, width=2)
    return picture


def _shapes(rng: random.Random) -> Image.Image:
    picture = Image.new("RGB", (rng.randrange(300, 700), rng.randrange(300, 700)), _colour(rng))
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.randrange(4, 40)):
        x, y, w, h = (rng.randrange(size) for size in (*picture.size, 250, 250))
        kind = rng.choice(("ellipse", "rectangle", "line", "star"))
        if kind == "star":
            tips = [(x + w * math.cos(a * 1.2566), y + w * math.sin(a * 1.2566)) for a in (0, 2, 4, 1, 3)]
            draw.polygon(tips, fill=_colour(rng))
        elif kind == "line":
            draw.line([(x, y), (x + w, y + h)], fill=_colour(rng), width=rng.randrange(1, 14))
        else:
            getattr(draw, kind)([x, y, x + w + 1, y + h + 1], fill=_colour(rng), outline=_colour(rng))
    return picture


def _chart(rng: random.Random, number: int) -> Image.Image:
    from matplotlib.figure import Figure

    numbers, figure = np.random.default_rng(rng.randrange(1 << 30)), Figure(figsize=(6, 4.5), dpi=80)
    axes = figure.subplots()
    kind = ("lines", "bars", "points", "pie", "contour", "histogram")[number // 2 % 6]
    if kind == "lines":
        axes.plot(numbers.normal(size=(60, rng.randrange(1, 6))).cumsum(axis=0))
    elif kind == "bars":
        axes.bar(range(8), numbers.random(8), color=numbers.random((8, 3)))
    elif kind == "points":
        axes.scatter(*numbers.normal(size=(2, 200)), c=numbers.random(200), s=40 * numbers.random(200))
    elif kind == "pie":
        axes.pie(numbers.random(6) + 0.1, labels=rng.sample(WORDS, 6))
    elif kind == "contour":
        x, y = np.meshgrid(np.linspace(-3, 3, 80), np.linspace(-3, 3, 80))
        axes.contourf(np.sin(x * numbers.random() * 2) * np.cos(y * numbers.random() * 2), 12, cmap="viridis")
    else:
        axes.hist(numbers.normal(size=900), bins=40)
    axes.set(title=" ".join(rng.sample(WORDS, 4)), xlabel=rng.choice(WORDS), ylabel=rng.choice(WORDS))
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return Image.open(file)


def _sentence(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words)).capitalize() + "."


def _screen(rng: random.Random, number: int) -> Image.Image:
    return (_mail, _terminal, _table)[number // 2 % 3](rng)


def _mail(rng: random.Random) -> Image.Image:
    """A mail program: folders at the left, messages at the right."""
    picture = Image.new("RGB", (960, 600), "white")
    draw, accent = ImageDraw.Draw(picture), _colour(rng)
    draw.rectangle([0, 0, 960, 44], fill=accent)
    draw.text((16, 11), "Inbox", fill="white", font=_font(18))
    draw.rectangle([0, 44, 190, 600], fill=(240, 242, 245))
    for row, name in enumerate(rng.sample(WORDS, 9)):
        draw.text((20, 64 + row * 34), name.capitalize(), fill=(60, 60, 70), font=_font(14))
    for row in range(11):
        y = 54 + row * 50
        draw.ellipse([204, y, 236, y + 32], fill=_colour(rng))
        draw.text(
            (250, y), f"{rng.choice(WORDS).capitalize()} {rng.choice(WORDS).capitalize()}", fill="black", font=_font(14)
        )
        draw.text((250, y + 19), _sentence(rng, 11)[:88], fill=(110, 110, 120), font=_font(12))
        draw.line([(200, y + 43), (960, y + 43)], fill=(225, 225, 230))
    return picture


def _terminal(rng: random.Random) -> Image.Image:
    picture = Image.new("RGB", (800, 560), (18, 18, 24) if rng.random() < 0.7 else (250, 250, 245))
    dark = picture.getpixel((0, 0))[0] < 100
    draw = ImageDraw.Draw(picture)
    for row in range(rng.randrange(10, 30)):
        text = f"$ {rng.choice(WORDS)} --{rng.choice(WORDS)}" if row % 4 == 0 else _sentence(rng, rng.randrange(3, 13))
        fill = rng.choice([(120, 220, 120), (220, 220, 220), (230, 200, 90)]) if dark else (30, 30, 30)
        draw.text((12, 8 + row * 18), text, fill=fill, font=_font(13))
    return picture


def _table(rng: random.Random) -> Image.Image:
    """A spreadsheet."""
    picture = Image.new("RGB", (840, 520), "white")
    draw = ImageDraw.Draw(picture)
    draw.rectangle([0, 0, 840, 60], fill=(33, 115, 70) if rng.random() < 0.5 else _colour(rng))
    for row in range(23):
        for column in range(8):
            box = [column * 105, 60 + row * 20, column * 105 + 105, 80 + row * 20]
            draw.rectangle(box, outline=(210, 210, 210), fill=(235, 235, 235) if 0 in (row, column) else "white")
            if rng.random() < 0.8:
                draw.text((box[0] + 4, box[1] + 3), str(rng.randrange(10_000)), fill="black", font=_font(11))
    return picture


def _page(rng: random.Random, number: int) -> Image.Image:
    """A page of text, in one or two columns; some as a scanner gives them."""
    picture = Image.new("L", (620, 880), rng.randrange(235, 256))
    draw, columns, size = ImageDraw.Draw(picture), rng.choice((1, 2)), rng.randrange(9, 18)
    for column in range(columns):
        left = 50 + column * 270
        for y in range(60, 820, int(size * 1.5)):
            words = rng.randrange(4, 8) * (2 if columns == 1 else 1) * 12 // size
            if rng.random() < 0.9:
                draw.text(
                    (left, y),
                    _sentence(rng, max(2, words))[: int(520 / columns / size * 1.7)],
                    fill=20,
                    font=_font(size),
                )
    if rng.random() < 0.5:
        picture = picture.rotate(rng.uniform(-3, 3), fillcolor=240)
        grains = np.random.default_rng(number).normal(0, rng.uniform(2, 12), np.array(picture).shape)
        picture = Image.fromarray(np.clip(np.array(picture) + grains, 0, 255).astype(np.uint8))
    return picture


def _noise(rng: random.Random, number: int) -> Image.Image:
    numbers, side = np.random.default_rng(rng.randrange(1 << 30)), rng.choice((128, 256, 512))
    kind = ("uniform", "normal", "grains", "clouds", "blocks")[number // 2 % 5]
    shape = (side, side, 3)
    if kind == "uniform":
        values = numbers.random(shape)
    elif kind == "normal":
        values = 0.5 + 0.15 * numbers.normal(size=shape)
    elif kind == "grains":
        values = (numbers.random(shape) < rng.uniform(0.02, 0.5)).astype(float)
    elif kind == "blocks":
        tile = rng.choice((8, 16, 32))
        values = numbers.random((side // tile, side // tile, 3)).repeat(tile, 0).repeat(tile, 1)
    else:  # amplitudes fall with frequency, as in clouds
        frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))[..., None]
        spectrum = np.fft.fft2(numbers.normal(size=shape), axes=(0, 1)) / (frequency + 1 / side) ** rng.uniform(
            0.8, 1.8
        )
        values = np.real(np.fft.ifft2(spectrum, axes=(0, 1)))
        values = (values - values.min()) / np.ptp(values)
    return Image.fromarray((np.clip(values, 0, 1) * 255).astype(np.uint8))


def _pattern(rng: random.Random, number: int) -> Image.Image:
    """Blank pages, gradients, checks, stripes, rings, colour bars, codes."""
    side = rng.choice((200, 384, 512))
    x, y = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side))
    first, second = np.array(_colour(rng)), np.array(_colour(rng))
    kind = ("blank", "gradient", "checks", "stripes", "rings", "bars", "code")[number // 2 % 7]
    angle, times = rng.uniform(0, math.pi), rng.randrange(3, 24)
    along = x * math.cos(angle) + y * math.sin(angle)
    if kind == "blank":  # paper: a scanner gives no two equal pixels, and readers refuse an image of one value
        grains = np.random.default_rng(number).normal(
            rng.choice((12, 243, 250, 128)), rng.uniform(0.5, 3), (side, side)
        )
        return Image.fromarray(np.clip(grains, 0, 255).astype(np.uint8))
    if kind == "bars":
        bars = np.array([[255] * 3, [255, 255, 0], [0, 255, 255], [0, 255, 0], [255, 0, 255], [255, 0, 0], [0, 0, 255]])
        return Image.fromarray(bars[rng.sample(range(7), 7)][(x * 6.99).astype(int)].astype(np.uint8))
    if kind == "code":
        cells = np.random.default_rng(number).random((29, 29)) < 0.5
        return Image.fromarray((cells * 255).astype(np.uint8)).resize((side, side), Image.Resampling.NEAREST)
    share = {
        "gradient": (along - along.min()) / np.ptp(along),
        "checks": ((x * times).astype(int) + (y * times).astype(int)) % 2,
        "stripes": np.floor(along * times) % 2,
        "rings": np.floor(np.hypot(x - 0.5, y - 0.5) * times * 2) % 2,
    }[kind][..., None]
    return Image.fromarray((first * (1 - share) + second * share).astype(np.uint8))


KINDS: dict[str, Callable[[random.Random, int], Image.Image]] = {
    "photograph": _photograph,
    "drawing": _drawing,
    "chart": _chart,
    "screen": _screen,
    "page": _page,
    "noise": _noise,
    "pattern": _pattern,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--photographs", type=Path, help="pictures of a folder besides, each in colour or in grey")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for number, (kind, picture) in enumerate(strange_pictures(options.count, options.first), options.first):
        picture.save(options.folder / f"{number:04}_{kind}.png")
    found = sorted(options.photographs.rglob("*")) if options.photographs else []
    files = [file for file in found if file.suffix.lower() in (".png", ".jpg", ".jpeg")]
    for number, file in enumerate(files):
        picture = on_ground(Image.open(file), number)
        picture.thumbnail((512, 512))
        picture.save(options.folder / f"given_{number:04}.png")


if __name__ == "__main__":
    main()
