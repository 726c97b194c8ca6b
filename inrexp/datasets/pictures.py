"""Pictures in: files, packaged ones, PIL images. Nothing here imports torch: a wrong picture is told at once."""

import warnings
from importlib.resources import files
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from inrexp.files import PICTURES, picture_table
from inrexp.names import did_you_mean

PACKAGED = tuple(picture_table())  # names of pictures that travel with inrexp or inside packages that it needs
MIN_SIDE = 16  # px; a smaller picture holds nothing that a mask smooth over 21 px could point at
MAX_ASPECT = 30  # long side to short side; enlarging the short side to the classifier's size enlarges the long one too


def load_picture(source: "str | Path | Image.Image") -> Image.Image:
    """A picture as an upright RGB PIL image; grey, palette, 16-bit and alpha pictures are converted (alpha on white).

    source: a path, the name of a packaged picture (`PACKAGED`), or a PIL image.
    Raises FileNotFoundError, TypeError for what is not a picture, ValueError for one too small or too large.
    """
    if isinstance(source, Image.Image):
        return _upright_rgb(source, "the picture")
    if not isinstance(source, str | Path):
        raise TypeError(
            "picture must be a path, a packaged name, a PIL image or a float tensor (1, 3, h, w) in [0, 1], got "
            f"{type(source).__name__}: PIL.Image.fromarray takes arrays (h, w, 3) of 0 to 255"
        )
    path = picture_path(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with _unpacked(path) as picture:
                return _upright_rgb(picture, str(path))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(
            f"{path} has more than {Image.MAX_IMAGE_PIXELS:,} pixels, PIL's limit: shrink it first; "
            "the classifier sees a few hundred pixels a side"
        ) from error
    except UnidentifiedImageError as error:
        raise TypeError(f"{path} is not a picture that PIL can read (JPEG, PNG, WebP, TIFF, ...)") from error
    except OSError as error:
        raise TypeError(f"{path} is a damaged picture: {error}") from error


def picture_path(source: "str | Path") -> Path:
    """The file of a picture: a path as it is, a packaged name (`PACKAGED`) as its file; a file called so wins.

    Raises FileNotFoundError if there is neither.
    """
    path = Path(source)
    if str(source) in PACKAGED and not path.is_file():
        entry = picture_table()[str(source)]
        path = PICTURES / entry["file"] if "file" in entry else Path(str(files(entry["module"]) / entry["path"]))
    if path.is_dir():
        raise FileNotFoundError(f"{path} is a folder: give one picture, such as a file in it")
    if not path.is_file():
        meant = did_you_mean(str(source), PACKAGED)
        raise FileNotFoundError(f"no picture at {path}{meant}; packaged pictures are {', '.join(PACKAGED)}")
    return path


def _unpacked(path: Path) -> Image.Image:
    try:
        picture = Image.open(path)
        picture.load()
    except (SyntaxError, ValueError) as error:  # what PIL's readers raise beside OSError
        raise OSError(str(error)) from error
    return picture


def _upright_rgb(picture: Image.Image, name: str) -> Image.Image:
    if min(picture.size) < MIN_SIDE:
        raise ValueError(f"{name} is {picture.width} x {picture.height} px: wanted at least {MIN_SIDE} px a side")
    if max(picture.size) > MAX_ASPECT * min(picture.size):
        raise ValueError(f"{name} is {picture.width} x {picture.height} px, over {MAX_ASPECT} to 1: crop it first")
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):  # 16-bit grey: PIL's own conversion clips instead of scaling
        return picture.convert("I").point(lambda value: value / 256).convert("L").convert("RGB")
    if picture.mode in ("F", "LAB"):
        raise TypeError(f"{name} has mode {picture.mode}, whose range is not known: save it as 8-bit RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture.convert("RGB")
