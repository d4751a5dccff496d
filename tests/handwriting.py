"""Small pages with lines of ink, and the ALTO and PAGE XML that tell where these are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

PAPER, INK = 220, 30
WIDTH, HEIGHT = 400, 300
ALTO = "http://www.loc.gov/standards/alto/ns-v4#"
PAGE = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"
Path2 = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Row:
    """A line as a test wants it in the XML; None leaves the thing out."""

    id: str | None = "l1"
    text: str | None = "some text"
    baseline: str | None = "40,100 360,100"
    polygon: str | None = "40,70 360,70 360,110 40,110"


def points(path: Path2) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in path)


def band(path: Path2, above: float, below: float) -> str:
    """A polygon that reaches so far above and below a path, straight up and down."""
    return points([*((x, y - above) for x, y in path), *((x, y + below) for x, y in reversed(path))])


def stroke(path: Path2, *, above: float, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """A page with ink along a path, moved up."""
    picture = Image.new("L", size, PAPER)
    ImageDraw.Draw(picture).line([(x, y - above) for x, y in path], fill=INK, width=3)
    return picture


def scribbled(seed: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """A page with noise that no two places have in common."""
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0]), dtype=np.uint8)
    return Image.fromarray(noise)


def alto(rows: Sequence[Row], *, image: str = "page.png", size: tuple[int, int] = (WIDTH, HEIGHT)) -> str:
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<alto xmlns="{ALTO}">
  <Description>
    <MeasurementUnit>pixel</MeasurementUnit>
    <sourceImageInformation><fileName>{escape(image)}</fileName></sourceImageInformation>
  </Description>
  <Layout>
    <Page WIDTH="{size[0]}" HEIGHT="{size[1]}" ID="p">
      <PrintSpace><TextBlock ID="b">
{"".join(map(_alto_line, rows))}
      </TextBlock></PrintSpace>
    </Page>
  </Layout>
</alto>
"""


def page(rows: Sequence[Row], *, image: str = "page.png", size: tuple[int, int] = (WIDTH, HEIGHT)) -> str:
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<PcGts xmlns="{PAGE}">
  <Page imageFilename={quoteattr(image)} imageWidth="{size[0]}" imageHeight="{size[1]}">
    <TextRegion id="r">
{"".join(map(_page_line, rows))}
    </TextRegion>
  </Page>
</PcGts>
"""


def _alto_line(row: Row) -> str:
    id = "" if row.id is None else f' ID="{row.id}"'
    baseline = "" if row.baseline is None else f' BASELINE="{row.baseline.replace(",", " ")}"'
    shape = "" if row.polygon is None else f'<Shape><Polygon POINTS="{row.polygon.replace(",", " ")}"/></Shape>'
    text = "" if row.text is None else f"<String CONTENT={quoteattr(row.text)}></String>"
    return f"        <TextLine{id}{baseline}>\n          {shape}\n          {text}\n        </TextLine>\n"


def _page_line(row: Row) -> str:
    id = "" if row.id is None else f' id="{row.id}"'
    coords = "" if row.polygon is None else f'<Coords points="{row.polygon}"/>'
    baseline = "" if row.baseline is None else f'<Baseline points="{row.baseline}"/>'
    text = "" if row.text is None else f"<TextEquiv><Unicode>{escape(row.text)}</Unicode></TextEquiv>"
    return f"      <TextLine{id}>\n        {coords}\n        {baseline}\n        {text}\n      </TextLine>\n"


def write(folder: Path, xml: str, picture: Image.Image | None, *, name: str = "page") -> Path:
    """A folder with a page's XML and, if there is one, its picture ``page.png``; the XML's path."""
    folder.mkdir(parents=True, exist_ok=True)
    if picture is not None:
        picture.save(folder / "page.png")
    path = folder / f"{name}.xml"
    path.write_text(xml, encoding="utf-8")
    return path


FORMATS = {"alto": alto, "page": page}


def assert_same_pixels(found: NDArray[np.uint8], expected: NDArray[np.uint8]) -> None:
    """Up to the rounding of gray values between pixels."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype == np.uint8
    assert np.abs(found.astype(int) - expected).max() <= 1


def save_line(path: Path, text: str | None = "text", seed: int = 0, size: tuple[int, int] = (60, 20)) -> None:
    """A picture of a line, and its transcript if there is a text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scribbled(seed, size).save(path)
    if text is not None:
        path.with_name(path.stem + ".gt.txt").write_text(text, encoding="utf-8")
