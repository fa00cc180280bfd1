"""The numbers of notebooks/drawings/recorded.json, which `python notebooks/tools/draw.py --record` wrote."""

import json
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "drawings" / "recorded.json"
RECORDED = json.loads(FILE.read_text(encoding="utf-8"))
