"""Fits the explanations of the book's first page and writes book/pictures: about 15 seconds a picture on two cores.

The book itself executes nothing, so these files are committed; run this again after a change of the default preset.

    python book/make_pictures.py [NAME ...]
"""

import json
import sys
from pathlib import Path

import inrexp
from inrexp.files import written_whole
from inrexp.widgets.scene import fine_crop, scene_of

HERE = Path(__file__).parent / "pictures"
PICTURES = {  # file, in the order shown -> its name below the photograph
    "macaw": "macaw",
    "coffee": "coffee",
    "penguins": "penguins",
    "chelsea": "cat",
    "monarch": "butterfly",
}


def write_picture(order: int, file: str, name: str) -> Path:
    """Explain one picture with the default preset and write what its explorer holds."""
    classifier = inrexp.load_classifier(device="cpu")
    picture = inrexp.load_picture(file)
    found = inrexp.explain(classifier, picture, progress=False)
    scene = scene_of({found.target.label: found}, photograph=fine_crop(classifier, picture))
    start = found.smallest_area() or 0.1
    path = HERE / f"{order:02}_{file}.json"
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps({"name": name, "state": {"area": start}, "scene": scene}) + "\n")
    return path


if __name__ == "__main__":
    for order, (file, name) in enumerate(PICTURES.items(), 1):
        if not sys.argv[1:] or file in sys.argv[1:]:
            print(write_picture(order, file, name))
