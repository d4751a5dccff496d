"""Lines to train on and to read: pictures with transcripts, pages with ALTO or PAGE XML; cut out, divided, and written back.

What cannot be used is left out, and a :class:`~spatial_lstm.handwriting.data.report.Report` says which lines and why.
"""

from spatial_lstm.handwriting.data.cache import Cache, Pictures
from spatial_lstm.handwriting.data.line import Line, Lines
from spatial_lstm.handwriting.data.outline import Outline
from spatial_lstm.handwriting.data.parts import PARTS, Parts, divide
from spatial_lstm.handwriting.data.pictures import normalize, read_gray, scaled
from spatial_lstm.handwriting.data.read import read_lines
from spatial_lstm.handwriting.data.report import LeftOut, Refusal, Report
from spatial_lstm.handwriting.data.save import save_lines
from spatial_lstm.handwriting.data.write_back import LineText, check_writable, write_page

__all__ = [
    "PARTS",
    "Cache",
    "LeftOut",
    "Line",
    "LineText",
    "Lines",
    "Outline",
    "Parts",
    "Pictures",
    "Refusal",
    "Report",
    "check_writable",
    "divide",
    "normalize",
    "read_gray",
    "read_lines",
    "save_lines",
    "scaled",
    "write_page",
]
