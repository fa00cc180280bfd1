"""The drawings of the course: what is drawn, not plotted. One module for each; `style` has their look.

`python notebooks/tools/draw.py` writes them to notebooks/drawings/NAME.svg. A chapter's source shows one as
`![](drawings/NAME.svg)`; `chapters.with_drawings` puts picture and alternative text into the built notebook.
"""

from . import decoding, family, fid, mask_and_fill, nc_vqvae, quantizer, run_folder, tokens, two_views

DRAWINGS = {  # name -> function that returns its Drawing
    "tokens": tokens.drawing,
    "quantizer": quantizer.drawing,
    "two_views": two_views.drawing,
    "mask_and_fill": mask_and_fill.drawing,
    "decoding": decoding.drawing,
    "decoding_stills": decoding.stills,
    "fid": fid.drawing,
    "nc_vqvae": nc_vqvae.drawing,
    "run_folder": run_folder.drawing,
    "family": family.drawing,
}
