"""IDX files, image sets, their splits and their downloads: all in temporary folders, no network."""

import gzip
import hashlib
import http.server
import struct
import threading
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest

from closura.initial.datasets import DATASETS, fetch, load_images, read_idx
from closura.initial.images import ImageSampler, grey_values
from closura.io import download as download_module


def idx_bytes(array: np.ndarray, code: int = 0x08) -> bytes:
    head = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


def numbered_images(n: int) -> np.ndarray:
    """Images whose first two pixels tell their index."""
    images = np.zeros((n, 28, 28), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.arange(n) // 256, np.arange(n) % 256
    return images


def indices(images: np.ndarray) -> np.ndarray:
    return images[:, 0, 0].astype(int) * 256 + images[:, 0, 1]


@pytest.fixture(autouse=True)
def no_ambient_data(monkeypatch, tmp_path):
    """The caller's own data and cache must neither help nor disturb."""
    monkeypatch.delenv("CLOSURA_DATA", raising=False)
    monkeypatch.setenv("CLOSURA_CACHE", str(tmp_path / "cache"))


class TestIdx:
    @pytest.mark.parametrize("compress", [bytes, gzip.compress])
    def test_reads_images_and_labels(self, tmp_path, compress):
        images = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
        (tmp_path / "a").write_bytes(compress(idx_bytes(images)))
        read = read_idx(tmp_path / "a")
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, images)
        (tmp_path / "b").write_bytes(compress(idx_bytes(np.arange(5, dtype=np.uint8))))
        np.testing.assert_array_equal(read_idx(str(tmp_path / "b")), np.arange(5))

    def test_reads_big_endian_integers(self, tmp_path):
        (tmp_path / "a").write_bytes(idx_bytes(np.array([1, 258], ">i4"), 0x0C))
        read = read_idx(tmp_path / "a")
        assert read.dtype == np.int32
        assert read.tolist() == [1, 258]

    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"nowhere: no such file.*closura data fetch mnist"):
            read_idx(tmp_path / "nowhere")

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda good: good[:-1], "truncated: expected 60 bytes for shape .5, 4, 3., got 59"),
            (lambda good: good + b"x", "too long: expected 60 bytes"),
            (lambda good: b"\x89PNG" + good[4:], "no IDX file: .* got 89 50 4e 47"),
            (lambda good: good[:9], "truncated: expected a header of 16 bytes, got 9"),
            (lambda good: b"", "truncated: expected an IDX header, got 0 bytes"),
            (lambda good: gzip.compress(good)[:-12], "truncated or damaged gzip"),
            (lambda good: gzip.compress(good)[:12] + b"\0\0\0\0" + gzip.compress(good)[16:], "damaged gzip"),
            (lambda good: gzip.compress(good)[:-8] + b"\0" * 8, "damaged gzip .*CRC"),
        ],
    )
    def test_damaged(self, tmp_path, damage, message):
        good = idx_bytes(np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8))
        (tmp_path / "a.gz").write_bytes(damage(good))
        with pytest.raises(ValueError, match=rf"a\.gz: .*{message}") as caught:
            read_idx(tmp_path / "a.gz")
        assert "closura data fetch" in str(caught.value)


class TestSplits:
    def test_train_and_test_files(self, tmp_path):
        folder = tmp_path / "mnist"
        folder.mkdir()
        (folder / "my-train.idx.gz").write_bytes(gzip.compress(idx_bytes(numbered_images(40))))
        (folder / "t10k-images").write_bytes(idx_bytes(numbered_images(7)))
        (folder / "t10k-labels").write_bytes(idx_bytes(np.zeros(7, np.uint8)))  # passed over: one axis
        (folder / "README").write_text("passed over: no IDX file")
        (folder / ".DS_Store").write_text("passed over: hidden")
        train, validation, test = (load_images("mnist", s, data_dir=tmp_path) for s in ("train", "validation", "test"))
        assert indices(train.images).tolist() == list(range(36))
        assert indices(validation.images).tolist() == list(range(36, 40))
        assert indices(test.images).tolist() == list(range(7))
        assert train.description == "MNIST train: images 0 to 35 (36 of 40) of my-train.idx.gz"
        assert test.description == "MNIST test: images 0 to 6 (7 of 7) of t10k-images"

    def test_one_large_file(self, tmp_path):
        (tmp_path / "mnist").mkdir()
        (tmp_path / "mnist" / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(numbered_images(5000)))
        sets = {s: load_images("mnist", s, data_dir=tmp_path) for s in ("train", "validation", "test")}
        seen = np.concatenate([indices(sets[s].images) for s in ("train", "validation", "test")])
        assert seen.tolist() == list(range(5000))
        assert [len(sets[s].images) for s in sets] == [3500, 500, 1000]
        assert "images 3,500 to 3,999 (500 of 5,000) of t10k-images-idx3-ubyte" in sets["validation"].description

    def test_one_small_file(self, tmp_path):
        (tmp_path / "fashion-mnist").mkdir()
        (tmp_path / "fashion-mnist" / "sample.gz").write_bytes(gzip.compress(idx_bytes(numbered_images(4999))))
        assert load_images("fashion-mnist", "test", data_dir=tmp_path).images.shape == (4999, 28, 28)
        for split in ("train", "validation"):
            with pytest.raises(ValueError, match=rf"4,999 images, fewer than 5,000: .* no {split} split.*closura data"):
                load_images("fashion-mnist", split, data_dir=tmp_path)

    def test_plain_and_compressed_copy_count_once(self, tmp_path):
        (tmp_path / "mnist").mkdir()
        for name, pack in (
            ("train-images", bytes),
            ("train-images.gz", gzip.compress),
            ("test-images", bytes),
        ):
            (tmp_path / "mnist" / name).write_bytes(pack(idx_bytes(numbered_images(20))))
        assert load_images("mnist", "train", data_dir=tmp_path).description.endswith("(18 of 20) of train-images")

    def test_ambiguous_files(self, tmp_path):
        (tmp_path / "mnist").mkdir()
        for name in ("one", "two"):
            (tmp_path / "mnist" / name).write_bytes(idx_bytes(numbered_images(20)))
        with pytest.raises(ValueError, match=r"expected one file of images.*got one, two"):
            load_images("mnist", "test", data_dir=tmp_path)

    def test_damaged_file_is_not_passed_over(self, tmp_path):
        (tmp_path / "mnist").mkdir()
        (tmp_path / "mnist" / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(numbered_images(20)))
        (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8b\x08 not really")
        with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz: truncated or damaged gzip"):
            load_images("mnist", "test", data_dir=tmp_path)

    def test_environment_then_cache(self, tmp_path, monkeypatch):
        monkeypatch.setenv("CLOSURA_DATA", str(tmp_path / "data"))
        cache = tmp_path / "cache" / "mnist"
        cache.mkdir(parents=True)
        (cache / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(numbered_images(30))))
        with pytest.raises(FileNotFoundError, match=r"mnist \(t10k-images-idx3-ubyte\.gz missing\)"):
            load_images("mnist", "train")  # half a download must not pass for another split
        (cache / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(numbered_images(3))))
        assert len(load_images("mnist", "train").images) == 27
        folder = tmp_path / "data" / "MNIST" / "raw"  # as torchvision lays it out
        folder.mkdir(parents=True)
        (folder / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(numbered_images(11)))
        assert len(load_images("mnist", "test").images) == 11

    def test_not_found_says_where_and_how(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"CLOSURA_DATA \(not set\)") as caught:
            load_images("fashion-mnist", "test")
        for part in (
            "closura data fetch fashion-mnist",
            "--data-dir",
            str(tmp_path / "cache" / "fashion-mnist"),
        ):
            assert part in str(caught.value)
        (tmp_path / "mnist").mkdir()
        (tmp_path / "mnist" / "images").write_bytes(idx_bytes(numbered_images(20)))
        # A folder of another set's images is not taken for this one.
        with pytest.raises(FileNotFoundError, match="no such folder"):
            load_images("fashion-mnist", "test", data_dir=tmp_path / "mnist")
        assert len(load_images("mnist", "test", data_dir=tmp_path / "mnist").images) == 20

    def test_unknown_names(self, tmp_path):
        with pytest.raises(ValueError, match="unknown image set 'emnist'; valid: mnist, fashion-mnist"):
            load_images("emnist", "test", data_dir=tmp_path)

    def test_real_files(self, data_folder):
        test = load_images("mnist", "test", data_dir=data_folder)
        train = load_images("mnist", "train", data_dir=data_folder)
        assert "images 9,000 to 9,999 (1,000 of 10,000) of t10k-images-idx3-ubyte.gz" in test.description
        assert len(train.images) == 8500
        # The first of the 10,000 test images is a seven; its sum of grey values is known.
        assert int(train.images[0].sum()) == 18454
        fashion = load_images("fashion-mnist", "test", data_dir=data_folder)
        assert fashion.images.shape == (900, 28, 28)
        assert "900 of 900" in fashion.description


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server on this machine that holds a small set of images, and no waiting between attempts."""
    published = tmp_path / "published"
    published.mkdir()
    checksums = {}
    for file, n in (("train-images-idx3-ubyte.gz", 30), ("t10k-images-idx3-ubyte.gz", 5)):
        content = gzip.compress(idx_bytes(numbered_images(n)))
        (published / file).write_bytes(content)
        checksums[file] = hashlib.md5(content).hexdigest()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        requests: list[str] = []  # noqa: RUF012

        def log_message(self, *args):
            self.requests.append(self.path)

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=published)) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{httpd.server_address[1]}/"
        monkeypatch.setitem(
            DATASETS,
            "mnist",
            replace(DATASETS["mnist"], checksums=checksums, mirrors=(address + "gone/", address)),
        )
        yield published, Quiet.requests
        httpd.shutdown()


class TestFetch:
    def test_downloads_once_from_the_second_mirror(self, server, tmp_path):
        _, requests = server
        folder = fetch("mnist")
        assert folder == tmp_path / "cache" / "mnist"
        assert sorted(path.name for path in folder.iterdir()) == sorted(DATASETS["mnist"].checksums)
        assert len(load_images("mnist", "test").images) == 5
        seen = len(requests)
        assert fetch("mnist") == folder
        assert len(requests) == seen  # whole copies are there: nothing is asked

    def test_damaged_copy_is_replaced(self, server):
        folder = fetch("mnist")
        (folder / "t10k-images-idx3-ubyte.gz").write_bytes(b"half")
        with pytest.raises(ValueError, match="closura data fetch mnist"):
            load_images("mnist", "test")
        fetch("mnist")
        assert len(load_images("mnist", "test").images) == 5

    def test_wrong_checksum(self, server, tmp_path):
        published, _ = server
        (published / "train-images-idx3-ubyte.gz").write_bytes(b"another file")
        with pytest.raises(ConnectionError, match=r"could not download train-images.*hash.*--data-dir"):
            fetch("mnist", cache=tmp_path / "elsewhere")
        assert list((tmp_path / "elsewhere").rglob("*.gz")) == []

    def test_load_downloads_only_when_asked(self, server, tmp_path):
        _, requests = server
        with pytest.raises(FileNotFoundError, match="closura data fetch mnist"):
            load_images("mnist", "test")
        assert not requests or "mnist" not in requests
        fetch("mnist", cache=tmp_path / "mine")
        assert len(load_images("mnist", "train", data_dir=tmp_path / "mine").images) == 27
        assert (tmp_path / "mine" / "mnist" / "t10k-images-idx3-ubyte.gz").is_file()

    def test_no_network(self, monkeypatch, tmp_path):
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(download_module, "_RETRIES", 0)
        dead = replace(DATASETS["mnist"], mirrors=("http://127.0.0.1:9/", "http://127.0.0.1:9/again/"))
        monkeypatch.setitem(DATASETS, "mnist", dead)
        with pytest.raises(ConnectionError, match=r"Tried: http://127.0.0.1:9/train.*; http://127.0.0.1:9/again/") as e:
            fetch("mnist")
        assert str(tmp_path / "cache" / "mnist") in str(e.value)
        assert "--data-dir" in str(e.value)


def test_registry_states_the_published_checksums():
    assert DATASETS["mnist"].checksums["t10k-images-idx3-ubyte.gz"] == "9fb629c4189551a2d022fa330f9573f3"
    assert DATASETS["mnist"].rotate
    assert not DATASETS["fashion-mnist"].rotate


def test_registered_checksum_matches_the_real_file(data_folder):
    content = (data_folder / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes()
    assert hashlib.md5(content).hexdigest() == DATASETS["mnist"].checksums["t10k-images-idx3-ubyte.gz"]


class TestGrey:
    """Images of other element types than bytes: fields of the same scale, or a line that says why not."""

    BYTES = np.random.default_rng(0).integers(0, 256, (40, 6, 6))

    @staticmethod
    def load(tmp_path, array: np.ndarray, code: int, pack=bytes) -> np.ndarray:
        (tmp_path / "mnist").mkdir(exist_ok=True)
        big_endian = array.astype(array.dtype.newbyteorder(">"))
        (tmp_path / "mnist" / "own-idx3").write_bytes(pack(idx_bytes(big_endian, code)))
        return load_images("mnist", "test", data_dir=tmp_path).images

    @pytest.mark.parametrize("pack", [bytes, gzip.compress])
    @pytest.mark.parametrize(("code", "dtype", "scale"), [
        (0x08, ">u1", 1), (0x0B, ">i2", 1), (0x0C, ">i4", 1), (0x0D, ">f4", 1), (0x0E, ">f8", 1),
        (0x0D, ">f4", 255), (0x0E, ">f8", 255),
    ])  # fmt: skip
    def test_the_field_is_that_of_bytes(self, tmp_path, code, dtype, scale, pack):
        images = self.load(tmp_path, (self.BYTES / scale).astype(dtype), code, pack)
        for rotate in (False, True):
            field = ImageSampler(images, (12, 12), rotate=rotate)(jax.random.key(3))
            expected = ImageSampler(self.BYTES.astype(np.uint8), (12, 12), rotate=rotate)(jax.random.key(3))
            np.testing.assert_allclose(field, expected, rtol=1e-6, atol=1e-7)
            assert 1e-6 <= float(field.min()) <= float(field.max()) <= 1 + 2e-6

    @pytest.mark.parametrize(("array", "code", "message"), [
        (BYTES.astype(">i4") * 16, 0x0C, "int32 values from 0 to 4080"),
        ((BYTES - 128).astype(">i1"), 0x09, "int8 values from -128 to 127"),
        ((BYTES // 2).astype(">i1"), 0x09, "int8 values from 0 to 127"),
        (BYTES.astype(">i2") - 1, 0x0B, "int16 values from -1 to 254"),
        (BYTES.astype(">i2") % 2, 0x0B, "int16 values from 0 to 1"),
        (BYTES.astype(">f4") / 100, 0x0D, "float32 values from 0 to 2.55"),
        (BYTES.astype(">f8") / 255 - 0.5, 0x0E, "float64 values from -0.5 to 0.5"),
        (np.where(np.arange(40)[:, None, None] >= 17, np.nan, BYTES / 255).astype(">f4"), 0x0D,
         r"image 17 \(counted from 0\) holds numbers that are not finite, and 23 of 40"),
        (np.where(np.arange(40)[:, None, None] == 39, -np.inf, BYTES).astype(">f8"), 0x0E, "image 39 "),
    ])  # fmt: skip
    def test_unknown_scales_are_refused_with_the_file(self, tmp_path, array, code, message):
        with pytest.raises(ValueError, match=rf"own-idx3: {message}"):
            self.load(tmp_path, array, code)

    def test_shapes(self, tmp_path):
        wide = ImageSampler(np.repeat(self.BYTES, 2, 2).astype(np.uint8), (12, 12), rotate=False)(jax.random.key(0))
        plain = ImageSampler(self.BYTES.astype(np.uint8), (12, 12), rotate=False)(jax.random.key(0))
        assert wide.shape == plain.shape  # stretched, as the docstring says
        assert abs(float(wide.mean() - plain.mean())) < 1e-2
        constant = ImageSampler(np.full((3, 4, 4), 255, np.uint8), (8, 8), rotate=False)(jax.random.key(0))
        np.testing.assert_allclose(constant, 1 + 1e-6, rtol=1e-6)
        assert not np.any(self.load(tmp_path, np.zeros((5, 4, 4), ">f4"), 0x0D))
        for shape, message in (((0, 4, 4), "at least one image"), ((3, 0, 4), "grey images"), ((3, 4), "grey images")):
            with pytest.raises(ValueError, match=message):
                grey_values(np.zeros(shape, np.uint8))
        with pytest.raises(ValueError, match="truncated"):
            self.load(tmp_path, self.BYTES.astype(">f8"), 0x0E, lambda content: content[:-3])

    def test_own_arrays(self):
        half = np.full((2, 4, 4), 0.5, np.float32)
        np.testing.assert_allclose(ImageSampler(half, (8, 8), rotate=False)(jax.random.key(0)), 0.5 + 1e-6, rtol=1e-6)
        assert grey_values(half > 0.25).tolist() == np.ones((2, 4, 4)).tolist()
        for wrong, message in (
            (np.ma.masked_equal(half, 0.5), "masked"), (half + 0j, "expected real numbers"),
            (half * 300.5, "no known scale"), (half.astype(object), "expected real numbers"),
            (np.where(half > 0, np.nan, half), "not finite"),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=message):
                ImageSampler(wrong, (8, 8), rotate=False)
