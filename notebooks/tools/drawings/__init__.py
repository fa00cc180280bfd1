"""The drawings of the course: what is drawn, not plotted. One module for each; `style` has their look.

`python notebooks/tools/draw.py` writes them to notebooks/drawings/NAME.svg. A chapter's source shows one as
`![](drawings/NAME.svg)`; `chapters.with_drawings` puts picture and alternative text into the built notebook.
"""

from . import fid, quantizer, run_folder, two_views

DRAWINGS = {  # name -> function that returns its Drawing
    "quantizer": quantizer.drawing,
    "two_views": two_views.drawing,
    "fid": fid.drawing,
    "run_folder": run_folder.drawing,
}
