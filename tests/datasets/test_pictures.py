"""Pictures in, tensors out: conversions and refusals."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from inrexp.datasets.pictures import MIN_SIDE, PACKAGED, load_picture
from inrexp.models.classifier import to_image, to_picture


def gradient(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A picture that is dark on the left and bright on the right."""
    row = np.linspace(0, 255, size[0], dtype=np.uint8)
    return Image.fromarray(np.tile(row, (size[1], 1))).convert("RGB").convert(mode)


def test_an_rgb_picture_comes_back_as_it_was(tmp_path: Path):
    path = tmp_path / "picture.png"
    gradient().save(path)
    assert np.array_equal(np.asarray(load_picture(path)), np.asarray(gradient()))
    assert np.array_equal(np.asarray(load_picture(str(path))), np.asarray(gradient()))
    assert np.array_equal(np.asarray(load_picture(gradient())), np.asarray(gradient()))


@pytest.mark.parametrize("name", PACKAGED)
def test_every_packaged_picture_loads(name: str):
    picture = load_picture(name)
    assert picture.mode == "RGB"
    assert min(picture.size) >= 300


def test_a_folder_called_like_a_packaged_picture_does_not_hide_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "chelsea").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_picture("chelsea").size == (451, 300)


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "LA", "RGBA", "PA", "HSV"])
def test_every_mode_becomes_rgb_without_losing_light_and_dark(mode: str):
    picture = load_picture(gradient("P").convert("PA") if mode == "PA" else gradient(mode))
    values = np.asarray(picture, dtype=float).mean(2)
    assert picture.mode == "RGB"
    assert values[:, -3:].mean() > values[:, :3].mean() + 100


@pytest.mark.parametrize("mode", ["F", "LAB"])
def test_a_mode_without_a_known_range_is_refused_not_guessed(mode: str):
    with pytest.raises(TypeError, match=f"has mode {mode}, whose range is not known"):
        load_picture(Image.new(mode, (20, 20)))


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path, suffix: str):
    values = np.tile(np.linspace(0, 65535, 40).astype(np.uint16), (30, 1))
    Image.fromarray(values).save(tmp_path / f"deep.{suffix}")
    found = np.asarray(load_picture(tmp_path / f"deep.{suffix}"))[..., 0].astype(int)
    assert np.abs(found - values // 256).max() <= 1


def test_a_transparent_pixel_becomes_white():
    picture = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    picture.putpixel((3, 4), (10, 20, 30, 255))
    found = load_picture(picture)
    assert found.getpixel((0, 0)) == (255, 255, 255)
    assert found.getpixel((3, 4)) == (10, 20, 30)


def test_a_palette_with_a_transparent_colour_becomes_white_there(tmp_path: Path):
    picture = Image.new("P", (20, 20), 0)
    picture.putpalette([0, 0, 0, 200, 100, 50])
    picture.putpixel((5, 5), 1)
    picture.save(tmp_path / "palette.png", transparency=0)
    found = load_picture(tmp_path / "palette.png")
    assert found.getpixel((0, 0)) == (255, 255, 255)
    assert found.getpixel((5, 5)) == (200, 100, 50)


def test_a_camera_held_sideways_is_turned_upright(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees clockwise to show
    gradient().save(tmp_path / "sideways.png", exif=exif)
    found = load_picture(tmp_path / "sideways.png")
    assert found.size == (30, 40)
    values = np.asarray(found, dtype=float).mean(2)
    assert values[0].mean() < 20  # what was left is now at the top
    assert values[-1].mean() > 235


def test_what_is_not_a_picture_is_refused(tmp_path: Path):
    text = tmp_path / "notes.jpg"
    text.write_text("no picture")
    with pytest.raises(TypeError, match=r"notes.jpg is not a picture that PIL can read"):
        load_picture(text)
    with pytest.raises(FileNotFoundError, match=r"no picture at .*missing.png; packaged pictures are astronaut"):
        load_picture(tmp_path / "missing.png")
    with pytest.raises(FileNotFoundError, match="is a folder: give one picture"):
        load_picture(tmp_path)
    with pytest.raises(TypeError, match="picture must be a path, .*got ndarray: PIL.Image.fromarray takes arrays"):
        load_picture(np.zeros((20, 20, 3)))  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore")  # PIL's own remarks on damaged tags
@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "gif", "bmp"])
def test_a_damaged_picture_is_refused_or_read_whatever_byte_is_wrong(tmp_path: Path, suffix: str):
    path = tmp_path / f"damaged.{suffix}"
    gradient().save(path)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    refused = unnamed = 0
    for turn in range(60):
        data = bytearray(whole[: len(whole) // 2] if turn == 0 else whole)
        data[random.integers(len(data))] ^= 0xFF
        path.write_bytes(bytes(data))
        try:
            assert load_picture(path).mode == "RGB"
        except (TypeError, ValueError) as error:
            refused += str(path) in str(error)
            unnamed += str(path) not in str(error)
    assert refused > 0
    assert unnamed == 0


def test_a_broken_header_is_a_damaged_picture(tmp_path: Path):
    path = tmp_path / "broken.png"
    gradient().save(path)
    whole = path.read_bytes()
    path.write_bytes(whole.replace((13).to_bytes(4) + b"IHDR", (5).to_bytes(4) + b"IHDR"))
    with pytest.raises(TypeError, match=r"broken.png is (a damaged picture|not a picture)"):
        load_picture(path)


def test_a_picture_too_small_to_point_at_anything_is_refused(tmp_path: Path):
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    with pytest.raises(ValueError, match=rf"dot.png is 1 x 1 px: wanted at least {MIN_SIDE} px a side"):
        load_picture(tmp_path / "dot.png")
    with pytest.raises(ValueError, match="40 x 3 px"):
        load_picture(gradient(size=(40, 3)))
    assert load_picture(gradient(size=(MIN_SIDE, MIN_SIDE))).size == (MIN_SIDE, MIN_SIDE)


def test_a_picture_that_would_grow_without_end_is_refused():
    """16 px to 256 px would make 5 million by 16 px, within PIL's limit, 20 thousand million pixels."""
    with pytest.raises(ValueError, match=r"the picture is 4000 x 20 px, over 30 to 1: crop it first"):
        load_picture(gradient(size=(4000, 20)))
    assert load_picture(gradient(size=(600, 20))).size == (600, 20)


@pytest.mark.parametrize("pixels", [1000, 100])  # over PIL's limit: a warning; over twice the limit: an error
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: int
):
    gradient().save(tmp_path / "bomb.png")  # 1200 px
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels)
    with pytest.raises(ValueError, match=rf"bomb.png has more than {pixels:,} pixels, PIL's limit: shrink it first"):
        load_picture(tmp_path / "bomb.png")


def test_an_image_of_the_right_size_keeps_its_pixels():
    picture = gradient(size=(32, 32))
    image = to_image(picture, size=(32, 32), resize=32, interpolation="bilinear")
    assert image.shape == (1, 3, 32, 32)
    assert torch.equal((image[0] * 255).round().to(torch.uint8).permute(1, 2, 0), torch.tensor(np.array(picture)))
    assert np.array_equal(np.asarray(to_picture(image)), np.asarray(picture))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_the_short_side_is_resized_and_the_centre_cut_out(interpolation: str):
    picture = Image.new("RGB", (120, 60), "black")
    picture.paste("white", (50, 0, 70, 60))  # a bar in the middle, 20 of 60 px: 10 of 30 after halving
    image = to_image(picture, size=(30, 30), resize=30, interpolation=interpolation)
    assert image.shape == (1, 3, 30, 30)
    assert float(image.min()) >= 0
    assert float(image.max()) <= 1
    assert float(image[0, :, :, 12:18].min()) > 0.99
    assert float(image[0, :, :, :8].max()) < 0.01
