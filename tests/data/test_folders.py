"""What folder readers share: files, archives, tables; and 2,000 damaged downloads, of which only
the library's own errors come out.
"""

import pickle
import random
import zipfile
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layouts import CUB_TABLES, celeba, cub, draw, lfw, own, pack, write
from PIL import Image

from a2i_lib.data import DataError
from a2i_lib.data.celeba import celeba_folder
from a2i_lib.data.cub import cub_folder
from a2i_lib.data.folders import Files, Table, hashed_split, square_of
from a2i_lib.data.lfw import lfw_folder
from a2i_lib.data.own import own_folder

# ---------------------------------------------------------------------- files and archives


def test_files_of_a_folder_and_of_an_archive_have_the_same_names(tmp_path):
    for name in ("a.jpg", "b/c d.jpg", "b/e\tf.jpg", ".hidden.jpg", "b/._c.jpg", "__MACOSX/a.jpg"):
        write(tmp_path / "top" / name, name)
    names = Files(tmp_path / "top").names
    assert names == ["a.jpg", "b/c d.jpg", "b/e\tf.jpg"]
    files = Files(pack(tmp_path / "top"))
    assert files.names == [f"top/{name}" for name in names]
    assert files.read("top/b/e\tf.jpg") == b"b/e\tf.jpg"
    assert files.named("c d.jpg") == "top/b/c d.jpg" and files.named("c") is None


def test_links_to_folders_are_followed_once(tmp_path):
    write(tmp_path / "far" / "a.jpg", "a")
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "pictures").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "round").symlink_to(tmp_path / "near")
    assert Files(tmp_path / "near").names == ["pictures/a.jpg"]


def test_members_that_lead_out_of_the_archive_are_left_out(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        for name in ("../evil.jpg", "/etc/evil.jpg", "a/../../evil.jpg", "good.jpg"):
            out.writestr(name, b"x")
    assert Files(tmp_path / "a.zip").names == ["good.jpg"]


@pytest.mark.parametrize("cut", [0, 10, 0.5, 0.99])
def test_an_archive_that_was_cut(tmp_path, cut):
    archive = pack(celeba(tmp_path, n=4) / "img_align_celeba")
    data = archive.read_bytes()
    archive.write_bytes(data[: int(cut * len(data)) if cut < 1 else cut])
    with pytest.raises(DataError, match="neither a folder nor a readable .zip.*fetch it again"):
        celeba_folder(tmp_path)


def test_an_archive_of_another_kind(tmp_path):
    (tmp_path / "lfw.tgz").write_bytes(b"\x1f\x8b\x08")
    with pytest.raises(DataError, match=r"lfw.tgz is neither .*; unpack it"):
        lfw_folder(tmp_path / "lfw.tgz")
    with pytest.raises(DataError, match="nowhere: no such folder or file"):
        lfw_folder(tmp_path / "nowhere")


def test_a_damaged_member_is_an_error_of_its_picture_alone(tmp_path):
    archive = pack(celeba(tmp_path, n=4) / "img_align_celeba")
    with zipfile.ZipFile(archive) as opened:
        start = opened.getinfo("img_align_celeba/000002.jpg").header_offset
    with open(archive, "r+b") as file:
        file.seek(start + 100)
        file.write(b"\0" * 50)
    source = celeba_folder(tmp_path)
    assert source.picture(0).size == (178, 178)
    with pytest.raises(DataError, match=r"000002.jpg: damaged in the archive"):
        source.picture(1)


def test_another_process_opens_the_archive_for_itself(tmp_path):
    archive = pack(celeba(tmp_path, n=12) / "img_align_celeba")
    source = celeba_folder(archive)
    here = [np.asarray(source.picture(i)).tobytes() for i in range(12)]
    assert len(pickle.dumps(source)) < 20_000 and pickle.loads(pickle.dumps(source)).paths
    with get_context("fork").Pool(2) as pool:  # where handles are inherited
        there = pool.map(partial(_bytes, source), range(12), chunksize=1)
    assert here == there


def _bytes(source, i):
    return np.asarray(source.picture(i)).tobytes()


# ---------------------------------------------------------------------- tables


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_lines_whatever_their_end(end, mark):
    text = mark + end.join(["a 1", "", "b\t2  ", "  ", "c\x0b3"])
    table = Table("t.txt", text.encode())
    assert [(n, line.rstrip()) for n, line in table.lines()] == [
        (1, "a 1"),
        (3, "b\t2"),
        (5, "c\x0b3"),
    ]


def test_text_in_another_encoding_is_refused():
    for data in ("file,größe\n".encode("latin-1"), "file,a\n".encode("utf-16"), b"\x80\n"):
        with pytest.raises(DataError, match="t.csv, line 1: not UTF-8 text; save it as UTF-8"):
            list(Table("t.csv", data).lines())
    with pytest.raises(DataError, match="t.csv, line 20001: not UTF-8"):
        list(Table("t.csv", b"a,b\r\n" * 20_000 + b"a,\xe9\r\n").lines())


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_every_reader_takes_marks_and_line_ends_of_windows(tmp_path, end, mark):
    readers = build(tmp_path)
    for name, (tables, read) in readers.items():
        plain = read()
        for table in tables:
            text = table.read_bytes()
            if not text.startswith(mark) or not mark:  # two readers share CUB's tables
                text = mark + text
            table.write_bytes(text.replace(b"\r\n", b"\n").replace(b"\n", end.encode()))
        again = read()
        assert again.schema == plain.schema and again.paths == plain.paths, name
        np.testing.assert_array_equal(again.attributes, plain.attributes)
        np.testing.assert_array_equal(again.split, plain.split)


def test_file_names_with_tabs_and_blanks(tmp_path):
    celeba(tmp_path, n=4)
    for table in ("list_attr_celeba.txt", "list_eval_partition.txt", "identity_CelebA.txt"):
        path = tmp_path / table
        path.write_text(path.read_text().replace("000002.jpg", "two and\ta tab.jpg"))
    pictures = tmp_path / "img_align_celeba"
    (pictures / "000002.jpg").rename(pictures / "two and\ta tab.jpg")
    assert celeba_folder(tmp_path).paths[1].endswith("two and\ta tab.jpg")
    own(tmp_path / "own", n=3)
    draw(tmp_path / "own" / "pictures" / 'a, "b"\tc.png', 1)
    with open(tmp_path / "own" / "attributes.csv", "a") as file:
        file.write('"a, ""b""\tc.png",yes,1,2\n')
    source = own_folder(tmp_path / "own", tmp_path / "own" / "attributes.csv")
    assert source.paths[-1] == 'pictures/a, "b"\tc.png'


def test_the_split_by_name_is_about_eight_one_and_one_in_ten():
    parts = np.bincount([hashed_split(f"{i}.png") for i in range(5000)]) / 5000
    np.testing.assert_allclose(parts, [0.8, 0.1, 0.1], atol=0.015)


def test_a_part_is_cut_before_it_is_squeezed():
    pixels = np.full((60, 80, 3), 255, np.uint8)
    pixels[10:40, 30:70] = 0
    part = square_of((30, 10, 70, 40), Image.fromarray(pixels))
    assert part.size == (40, 40) and np.asarray(part).max() == 0
    assert square_of((-5, 50, 20, 90), Image.fromarray(pixels)).size == (20, 20)
    with pytest.raises(ValueError, match="lies outside"):
        square_of((90, 0, 99, 9), Image.fromarray(pixels))


# ---------------------------------------------------------------------- damaged downloads


def build(root):
    """Layout -> its tables, and a call that reads it."""
    lfw(root / "lfw", people=4)
    celeba(root / "celeba", n=6)
    cub(root / "cub", each=2)
    own(root / "own", n=6)
    text = [
        root / "lfw" / f"{n}.txt" for n in ("lfw_attributes", "peopleDevTrain", "peopleDevTest")
    ]
    lists = [f"{n}.txt" for n in ("list_attr_celeba", "list_eval_partition", "identity_CelebA")]
    birds = [root / "cub" / folder / name for name, folder in CUB_TABLES.items()]
    birds = [path for path in birds if path.name != "classes.txt"]
    csv = root / "own" / "attributes.csv"
    return {
        "lfw": (text, partial(lfw_folder, root / "lfw", max_dropped=1)),
        "celeba": (
            [root / "celeba" / name for name in lists],
            partial(celeba_folder, root / "celeba", max_dropped=1),
        ),
        "cub per class": (
            [path for path in birds if "image_attr" not in path.name],
            partial(cub_folder, root / "cub", "class", max_dropped=1),
        ),
        "cub per image": (
            [path for path in birds if "class_attr" not in path.name],
            partial(cub_folder, root / "cub", "image", max_dropped=1),
        ),
        "own": ([csv], partial(own_folder, root / "own", csv, max_dropped=1)),
    }


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    return build(tmp_path_factory.mktemp("layouts"))


FIELDS = ["", "0", "1", "-1", "2", "1e999", "nan", "٣", "1_0", "yes", "\x00", '"', "\ufeff", "a\tb"]
FIELDS += ["-0", "1" * 400, "../../etc/passwd", "/", "000001.jpg", "é", "\u2028", "#", "1e30", "²"]
EDITS = st.tuples(
    st.sampled_from(["drop", "twice", "swap", "field", "insert", "split", "cut", "bytes", "empty"]),
    st.integers(0, 2**32),
    st.sampled_from(FIELDS),
    st.binary(max_size=6),
)
fuzz = partial(
    settings,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def damage(data, edits):
    """Some accidents that may happen to a text file."""
    for what, number, word, raw in edits:
        draw_from = random.Random(number)
        lines = data.split(b"\n")
        i, j = draw_from.randrange(len(lines)), draw_from.randrange(len(lines))
        if what == "drop":
            del lines[i]
        elif what == "twice":
            lines.insert(j, lines[i])
        elif what == "swap":
            lines[i], lines[j] = lines[j], lines[i]
        elif what == "insert":
            lines.insert(i, word.encode())
        elif what in ("field", "split"):
            mark = draw_from.choice([b"\t", b" ", b","])
            fields = lines[i].split(mark)
            fields[draw_from.randrange(len(fields))] = word.encode() if what == "field" else mark
            lines[i] = mark.join(fields)
        data = b"\n".join(lines)
        place = draw_from.randrange(len(data) + 1)
        if what == "cut":
            data = data[:place]
        elif what == "bytes":
            data = data[:place] + raw + data[place + draw_from.randrange(9) :]
        elif what == "empty":
            data = raw
    return data


def check(read):
    """Either a `DataError`, or a source in which everything fits together."""
    try:
        source = read()
    except DataError as error:
        assert len(str(error)) > 20
        return
    n, k = source.attributes.shape
    assert n == len(source) == len(source.split) == source.report.kept > 0
    assert k == len(source.schema) and np.isfinite(source.attributes).all()
    assert source.attributes.dtype == np.float32 and source.split.dtype == np.int8
    assert set(source.split.tolist()) <= {0, 1, 2}
    assert len(set(source.paths)) == n and str(source.report)
    for i in {0, n - 1}:
        assert source.where(i)
        picture = source.picture(i)
        assert picture.width == picture.height


CASES = {"lfw": 450, "celeba": 450, "cub per class": 300, "cub per image": 300, "own": 300}


@pytest.mark.parametrize("layout", CASES)
def test_damaged_tables(readers, layout):
    tables, read = readers[layout]
    whole = {table: table.read_bytes() for table in tables}

    @fuzz(max_examples=CASES[layout])
    @given(st.sampled_from(tables), st.lists(EDITS, min_size=1, max_size=4))
    def damaged(table, edits):
        table.write_bytes(damage(whole[table], edits))
        try:
            check(read)
        finally:
            table.write_bytes(whole[table])

    damaged()


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return pack(celeba(tmp_path_factory.mktemp("packed"), n=3) / "img_align_celeba")


def test_damaged_archives(archive):
    whole = archive.read_bytes()
    positions = st.integers(0, len(whole) - 1) | st.integers(len(whole) - 300, len(whole) - 1)

    @fuzz(max_examples=150)
    @given(st.lists(st.tuples(positions, st.binary(min_size=1, max_size=4)), max_size=5), positions)
    def damaged(edits, end):
        data = bytearray(whole)
        for place, raw in edits:
            data[place : place + len(raw)] = raw
        archive.write_bytes(bytes(data) if edits else bytes(data[:end]))
        try:
            source = celeba_folder(archive, max_dropped=1)
        except DataError:
            return
        for i in range(len(source)):
            try:
                assert source.picture(i).width == 178
            except (ValueError, OSError):
                pass

    damaged()


def test_damaged_pictures(tmp_path):
    draw(tmp_path / "p" / "a.png", 9, 16, 16)
    write(tmp_path / "a.csv", "file,x\na.png,1\n")
    source = own_folder(tmp_path / "p", tmp_path / "a.csv")
    whole = (tmp_path / "p" / "a.png").read_bytes()

    @fuzz(max_examples=100)
    @given(st.integers(0, len(whole)), st.binary(max_size=20))
    def damaged(place, raw):
        (tmp_path / "p" / "a.png").write_bytes(whole[:place] + raw + whole[place + len(raw) + 1 :])
        try:
            assert source.picture(0).mode == "RGB"
        except ValueError:
            pass

    damaged()
