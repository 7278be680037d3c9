"""Each official layout, tiny, and a few dozen of the real pictures where they are."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
from layouts import (
    CUB_NAMES,
    casia,
    celeba,
    cub,
    draw,
    lfw,
    lfw_parts,
    own,
    pack,
    pixel,
    write,
)
from PIL import Image

from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.data import DataError
from a2i_lib.data import lfw as lfw_module
from a2i_lib.data.casia import casia_folder
from a2i_lib.data.celeba import ATTRIBUTES, CHOICES, celeba_folder
from a2i_lib.data.cub import cub_folder
from a2i_lib.data.lfw import lfw_folder
from a2i_lib.data.own import own_folder
from a2i_lib.models.classifier import AttributeClassifier
from a2i_lib.released import Release

# ---------------------------------------------------------------------- LFW


@pytest.mark.parametrize("pictures", ["lfw_funneled", "lfw-deepfunneled"])
def test_lfw(tmp_path, pictures):
    lfw(tmp_path, pictures=pictures)
    for root in (tmp_path, tmp_path / pictures):
        source = lfw_folder(root)
        assert source.schema.names == ["Male", "Middle_Aged", "Strong_Nose-Mouth_Lines"]
        assert (source.report.read, source.report.kept, len(source)) == (40, 40, 40)
        mean, deviation = (
            np.array([getattr(a, what) for a in source.schema]) for what in ("mean", "deviation")
        )
        raw = mean + deviation * source.attributes
        np.testing.assert_allclose(raw[6], [0.25 * 3 - 2, -0.5, -0.125 * 3], atol=1e-5)
        train = source.attributes[source.split == 0]
        np.testing.assert_allclose(train.mean(0), 0, atol=1e-5)
        assert source.where(6).endswith("lfw_attributes.txt, line 9)")
        assert "Ada_B3/Ada_B3_0001.jpg" in source.where(6)
        assert source.provenance["pictures"] == pictures and not source.has_masks


def test_lfws_view_1_keeps_people_together(tmp_path):
    source = lfw_folder(lfw(tmp_path))
    for i, path in enumerate(source.paths):
        person = path.split("/")[1]
        number = int(hashlib.sha256(person.encode()).hexdigest()[:16], 16)
        wanted = 2 if int(person[5:]) >= 15 else int(number % 10 == 0)
        assert source.split[i] == wanted


def test_lfws_two_crops(tmp_path):
    lfw(tmp_path)
    path = tmp_path / "lfw_funneled" / "Ada_B0" / "Ada_B0_0001.png"
    path.with_suffix(".jpg").unlink()
    x, y = np.meshgrid(np.arange(250), np.arange(250))
    Image.fromarray(np.stack([x, y, x * 0], 2).astype(np.uint8)).save(path)  # pixel = its place
    for crop, (left, upper, right, lower) in {
        "a2i": (45, 45, 204, 204),
        "lfwcrop": (83, 92, 166, 175),
    }.items():
        source = lfw_folder(tmp_path, crop=crop)
        picture = np.asarray(source.picture(0))
        assert picture[0, 0].tolist() == [left, upper, 0]
        assert picture[-1, -1].tolist() == [right, lower, 0]
    with pytest.raises(DataError, match="'face': choose one of a2i, lfwcrop"):
        lfw_folder(tmp_path, crop="face")


def test_lfws_part_labels_become_masks(tmp_path):
    lfw_parts(lfw(tmp_path / "a"), people=7)
    source = lfw_folder(tmp_path / "a", masks=True)
    assert source.has_masks and len(source) == 7
    mask = np.asarray(source.mask(2))
    assert mask.shape == (160, 160) and set(np.unique(mask).tolist()) == {0, 255}
    assert mask[10, 40] == 255 and mask[150, 40] == 255 and mask[3, 40] == 0  # hair, skin, ground
    assert mask[50, 20] == 0
    with pytest.raises(DataError, match="no parts_lfw_funneled_gt_images"):
        lfw_folder(lfw(tmp_path / "b"), masks=True)
    lfw_parts(lfw(tmp_path / "c", pictures="lfw-deepfunneled"), people=2)
    with pytest.raises(DataError, match="do not fit lfw-deepfunneled"):
        lfw_folder(tmp_path / "c", masks=True)


def test_cmmas_split_goes_by_the_order_of_the_rows(tmp_path, monkeypatch):
    lfw(tmp_path)
    monkeypatch.setattr(lfw_module, "CMMA_BORDERS", (30, 34))
    (tmp_path / "peopleDevTrain.txt").unlink()
    (tmp_path / "lfw_funneled" / "Ada_B1" / "Ada_B1_0001.jpg").unlink()
    source = lfw_folder(tmp_path, split="cmma")
    assert source.split.tolist() == [0] * 29 + [1] * 4 + [2] * 6
    monkeypatch.setattr(lfw_module, "CMMA_BORDERS", (30, 40))
    with pytest.raises(DataError, match="has 40 rows: the split 'cmma' tests on rows from 40 on"):
        lfw_folder(tmp_path, split="cmma")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.replace("Ada B3\t1", "Ada B3\tone"), "a field that is no number"),
        (lambda s: s.replace("Ada B3\t1\t", "Ada B3\t1\tnan\t"), "not 5 fields between tabs"),
        (lambda s: s.replace("Ada B3\t1", "Ada B99\t1"), "in neither list of View 1"),
        (lambda s: s.replace("Ada B3\t1", "Ada B3\t9"), "its picture is missing"),
        (lambda s: s.replace("Ada B3\t1", "Ada B3\t2"), "a second row for the same picture"),
    ],
)
def test_lfw_rows_that_cannot_be_used_are_counted(tmp_path, change, reason):
    lfw(tmp_path)
    table = tmp_path / "lfw_attributes.txt"
    table.write_text(change(table.read_text()))
    source = lfw_folder(tmp_path)
    assert len(source) == source.report.kept == 39
    assert f"1 dropped: {reason}" in str(source.report).replace("the person is ", "")
    assert "lfw_attributes.txt, line" in str(source.report)
    with pytest.raises(DataError, match="more than 2%"):
        lfw_folder(tmp_path, max_dropped=0.02)


def test_lfw_without_its_tables_says_what_to_do(tmp_path):
    lfw(tmp_path)
    (tmp_path / "peopleDevTest.txt").unlink()
    with pytest.raises(DataError, match=r"no peopleDevTest.txt.*or take --split cmma"):
        lfw_folder(tmp_path)
    (tmp_path / "lfw_attributes.txt").write_text("Ada B0\t1\t0.5\n")
    with pytest.raises(DataError, match="no header '# person imagenum Male"):
        lfw_folder(tmp_path, split="cmma")
    (tmp_path / "lfw_attributes.txt").unlink()
    with pytest.raises(DataError, match=r"no lfw_attributes.txt, neither in it nor beside it"):
        lfw_folder(tmp_path)


# ---------------------------------------------------------------------- CelebA


def check_celeba(source):
    assert source.schema.names == list(ATTRIBUTES) and not source.has_masks
    assert source.split.tolist() == [0] * 16 + [1, 1, 2, 2]
    for k in range(len(ATTRIBUTES)):
        wanted = [1.0 if i % (k + 1) == 0 else -1.0 for i in range(1, 21)]
        assert source.attributes[:, k].tolist() == wanted
    assert source.where(4).endswith("000005.jpg (" + source.table + ", line 7)")
    assert source.picture(4).size == (178, 178)
    assert abs(pixel(source.picture(4))[0] - 25) < 5
    assert "10 people, none of them in more than one part" in str(source.report)


def test_celeba_in_a_folder(tmp_path):
    celeba(tmp_path)
    check_celeba(celeba_folder(tmp_path))
    check_celeba(celeba_folder(tmp_path / "img_align_celeba"))


def test_celebas_archive_is_read_without_unpacking(tmp_path):
    archive = pack(celeba(tmp_path) / "img_align_celeba")
    for root in (tmp_path, archive):
        source = celeba_folder(root)
        check_celeba(source)
        check_celeba(pickle.loads(pickle.dumps(source)))
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == []


def test_celeba_in_the_folders_of_its_home(tmp_path):
    celeba(tmp_path / "all")
    for folder, names in {
        "Anno": ["list_attr_celeba.txt", "identity_CelebA.txt"],
        "Eval": ["list_eval_partition.txt"],
        "Img": ["img_align_celeba"],
    }.items():
        (tmp_path / "CelebA" / folder).mkdir(parents=True)
        for name in names:
            (tmp_path / "all" / name).rename(tmp_path / "CelebA" / folder / name)
    pack(tmp_path / "CelebA" / "Img" / "img_align_celeba")
    check_celeba(celeba_folder(tmp_path / "CelebA"))


def test_celebas_choices_of_attributes(tmp_path):
    celeba(tmp_path)
    for name, n in (("slgan17", 17), ("icgan18", 18)):
        source = celeba_folder(tmp_path, attributes=name)
        assert len(source.schema) == n == source.attributes.shape[1]
        assert source.provenance["attributes_kept"].startswith(f"{n}: ")
        k = source.schema.index("Male")  # the 21st: divides no number here
        assert (source.attributes[:, k] == -1).all()
    two = celeba_folder(tmp_path, attributes=["Young", "Bald"])
    assert two.schema.names == ["Young", "Bald"]
    assert two.attributes[:, 1].tolist() == [1.0 if i % 5 == 0 else -1.0 for i in range(1, 21)]
    with pytest.raises(DataError, match="unknown attribute 'Smilling': did you mean Smiling"):
        celeba_folder(tmp_path, attributes=["Smilling"])
    with pytest.raises(DataError, match="duplicate attribute name 'Bald'"):
        celeba_folder(tmp_path, attributes=["Bald", "bald"])


def test_the_17_attributes_are_the_most_balanced(shared_data):
    pq = pytest.importorskip("pyarrow.parquet")
    table = pq.read_table(shared_data / "celeba.parquet", columns=[*ATTRIBUTES, "partition"])
    train = table["partition"].to_numpy() == 0
    share = {a: table[a].to_numpy(zero_copy_only=False)[train].mean() for a in ATTRIBUTES}
    ranked = sorted(ATTRIBUTES, key=lambda a: abs(share[a] - 0.5))
    assert set(ranked[:17]) == set(CHOICES["slgan17"][0]) and ranked[17] == "Brown_Hair"


@pytest.mark.parametrize(
    ("crop", "left", "upper", "side"),
    [("square", 0, 20, 178), ("a2i", 25, 30, 180), ("acvaegan", 15, 35, 148), ("slgan", 0, 0, 218)],
)
def test_celebas_crops(tmp_path, crop, left, upper, side):
    celeba(tmp_path)
    x, y = np.meshgrid(np.arange(178), np.arange(218))
    path = tmp_path / "img_align_celeba" / "000001.png"
    Image.fromarray(np.stack([x, y, x * 0], 2).astype(np.uint8)).save(path)
    path.rename(path.with_suffix(".jpg"))
    picture = celeba_folder(tmp_path, crop=crop).picture(0)
    assert picture.size == (side, side)
    assert np.abs(np.asarray(picture)[0, 0].astype(int) - [left, upper, 0]).max() <= 1


def test_celebas_pictures_of_another_shape(tmp_path):
    celeba(tmp_path)
    draw(tmp_path / "img_align_celeba" / "000001.jpg", 0, 64, 64)
    draw(tmp_path / "img_align_celeba" / "000002.jpg", 0, 64, 65)
    source = celeba_folder(tmp_path)
    assert source.picture(0).size == (64, 64)
    with pytest.raises(ValueError, match="neither 178x218"):
        source.picture(1)


def test_celeba_counts_what_does_not_fit(tmp_path):
    celeba(tmp_path)
    table = tmp_path / "list_attr_celeba.txt"
    lines = table.read_text().splitlines()
    lines[5] += " 1"  # the picture's name becomes '000004.jpg -1'
    lines[6] = lines[6].replace("-1", "maybe", 1)
    lines.append(lines[7])
    write(table, "\n".join(lines))
    (tmp_path / "img_align_celeba" / "000008.jpg").unlink()
    source = celeba_folder(tmp_path, max_dropped=0.5)
    shown = str(source.report)
    assert len(source) == source.report.kept == 17
    assert "says 20 rows, there are 21" in shown
    for reason in ("in no part of", "none of 1, -1, 0", "a second row", "picture is missing"):
        assert f"1 dropped: {reason}" in shown.replace("the picture is ", "").replace(
            "a value that is ", ""
        ).replace("its ", "")
    with pytest.raises(DataError, match=r"have no usable row in .*more than 5%.*--max-dropped 1"):
        celeba_folder(tmp_path)


def test_a_half_of_celebas_pictures(tmp_path):
    celeba(tmp_path)
    for i in range(1, 20, 2):
        (tmp_path / "img_align_celeba" / f"{i:06d}.jpg").unlink()
    with pytest.raises(DataError, match="10 of 20 rows cannot be used, more than 5%"):
        celeba_folder(tmp_path)
    assert len(celeba_folder(tmp_path, max_dropped=0.6)) == 10


def test_a_picture_in_two_parts_of_celeba(tmp_path):
    celeba(tmp_path)
    with open(tmp_path / "list_eval_partition.txt", "a") as file:
        file.write("000003.jpg 2\n")
    with pytest.raises(DataError, match=r"line 21: '000003.jpg' is in two parts"):
        celeba_folder(tmp_path)


# ---------------------------------------------------------------------- CUB


def test_cub_per_class_and_per_image(tmp_path):
    cub(tmp_path)
    for root in (tmp_path, tmp_path / "CUB_200_2011"):
        source = cub_folder(root)
        assert source.schema.names == CUB_NAMES and len(source) == 18
        assert source.schema.groups == {"has_bill_shape": [0, 1], "has_size": [2]}
        species = np.repeat([0, 1, 2], 6)
        np.testing.assert_array_equal(source.attributes, np.where(np.eye(3)[species], 1, -1))
        assert ((source.split == 2) == (np.arange(18) % 6 >= 4)).all()
    source = cub_folder(tmp_path, per="image")
    number, k = np.meshgrid(np.arange(1, 19), np.arange(1, 4), indexing="ij")
    np.testing.assert_array_equal(source.attributes, np.where((number + k) % 2, 1, -1))
    assert "1 lines of more than five columns, the first three used" in str(source.report)
    assert "one annotator" in source.provenance["attributes"]


def test_cub_is_cut_along_the_mask_or_else_the_box(tmp_path):
    source = cub_folder(cub(tmp_path / "a"))
    assert source.picture(0).size == (40, 40) and not source.has_masks  # a box of 40x30, squeezed
    assert "bounding box" in source.provenance["crop"]
    source = cub_folder(cub(tmp_path / "b", segmented=True))
    assert source.has_masks and source.mask(3).size == source.picture(3).size == (40, 40)
    assert np.asarray(source.mask(3)).min() == 255  # tight, and a rectangle
    path = tmp_path / "b" / "CUB_200_2011" / "segmentations" / "001.Bird_1" / "Bird_1_0000.png"
    Image.new("L", (80, 60)).save(path)  # empty: the box again
    assert np.asarray(source.mask(0)).max() == 0
    path.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="its mask: bytes that are no image"):
        source.picture(0)
    path.unlink()
    assert "1 dropped: no segmentation" in str(cub_folder(tmp_path / "b", max_dropped=0.1).report)


def test_cub_pictures_without_all_labels_are_dropped(tmp_path):
    cub(tmp_path)
    table = tmp_path / "CUB_200_2011" / "attributes" / "image_attribute_labels.txt"
    lines = table.read_text().splitlines()
    lines[0] = "1 4 1 3 1.0"  # there is no fourth attribute
    lines += [lines[10], lines[11].replace(" 0 3", " 1 3")]  # again; another one
    write(table, "\n".join(lines))
    source = cub_folder(tmp_path, per="image", max_dropped=0.1)
    assert len(source) == source.report.kept == 17
    shown = str(source.report)
    assert "1 dropped: not all of its attributes are labelled" in shown
    assert "1 lines left out: no picture, attribute and 0 or 1 (line 1)" in shown
    assert "left out: a second label" in shown
    assert source.boxes.shape == (17, 4)


def test_cub_says_what_is_missing(tmp_path):
    cub(tmp_path)
    (tmp_path / "CUB_200_2011" / "attributes" / "class_attribute_labels_continuous.txt").unlink()
    with pytest.raises(DataError, match=r"no class_attribute_labels_con.*or take --per image"):
        cub_folder(tmp_path)
    write(tmp_path / "attributes.txt", "1 a::b\n3 a::c\n")
    with pytest.raises(DataError, match=r"attributes.txt, line 2: expected '2 NAME'"):
        cub_folder(tmp_path)


# ---------------------------------------------------------------------- CASIA-WebFace


def predictor(kind="score", size=32):
    torch.manual_seed(0)
    model = AttributeClassifier(2, width=0.125, size=size).eval()
    schema = AttributeSchema([Attribute("Male", kind), Attribute("Smiling", kind)])
    card = {"recipe": {"name": "regressor-toy"}, "data": {"name": "toy"}, "sha256": "00"}
    return Release(model, schema, card)


def test_casia_is_labelled_by_a_predictor_and_says_so(tmp_path):
    casia(tmp_path)
    release = predictor()
    source = casia_folder(tmp_path, release, progress=False)
    assert len(source) == 60 and all(a.predicted for a in source.schema)
    assert "PREDICTED" in source.provenance["attributes"]
    assert source.provenance["predictor"]["name"] == "regressor-toy"
    picture = np.asarray(source.picture(33).resize((32, 32), Image.Resampling.LANCZOS))
    x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        np.testing.assert_allclose(source.attributes[33], release.model(x)[0], atol=1e-4)
    kept = AttributeSchema.from_dict(source.schema.to_dict())
    assert kept == source.schema and kept.fingerprint == release.schema.fingerprint


def test_casias_split_is_by_person(tmp_path):
    casia(tmp_path)
    source = casia_folder(tmp_path / "CASIA-WebFace", predictor("binary"), progress=False)
    assert set(np.unique(source.attributes).tolist()) <= {-1.0, 1.0}
    assert set(source.split.tolist()) == {0, 1, 2}
    for path, part in zip(source.paths, source.split, strict=True):
        number = int(hashlib.sha256(path.split("/")[-2].encode()).hexdigest()[:16], 16) % 10
        assert part == {0: 1, 1: 2}.get(number, 0)


def test_casias_bad_pictures_are_counted(tmp_path):
    casia(tmp_path)
    folder = tmp_path / "CASIA-WebFace"
    (folder / "0000003" / "001.jpg").write_bytes(b"")
    draw(folder / "lone.jpg", 9)
    source = casia_folder(folder, predictor(), progress=False)
    assert len(source) == source.report.kept == 59 and source.report.read == 61
    assert "picture unusable: no image bytes" in str(source.report)
    assert "in no person's folder" in str(source.report)
    with pytest.raises(DataError, match="more than 1%"):
        casia_folder(folder, predictor(), max_dropped=0.01, progress=False)


def test_casias_labelling_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
    casia(tmp_path)
    monkeypatch.setattr("a2i_lib.data.casia.BATCH", 8)
    release, kept = predictor(), tmp_path / "casia-32.labels"
    whole = casia_folder(tmp_path, release, progress=False).attributes
    looked = []

    def watch(model, inputs):
        if len(looked) == 3:
            raise KeyboardInterrupt
        looked.append(len(inputs[0]))

    hook = release.model.register_forward_pre_hook(watch)
    with pytest.raises(KeyboardInterrupt):
        casia_folder(tmp_path, release, progress=False, kept=kept)
    with open(kept, "ab") as file:
        file.write(b'{"start": 24, "attr')  # a kill in the middle of a line
    hook.remove()
    release.model.register_forward_pre_hook(lambda _, inputs: looked.append(len(inputs[0])))
    again = casia_folder(tmp_path, release, progress=False, kept=kept).attributes
    np.testing.assert_array_equal(again, whole)
    assert sum(looked) == 60  # each picture once
    other = Release(release.model, release.schema, {**release.card, "sha256": "01"})
    casia_folder(tmp_path, other, progress=False, kept=kept)  # its labels are its own
    assert sum(looked) == 120


def test_casias_bad_pictures_are_looked_at_again(tmp_path, monkeypatch):
    casia(tmp_path)
    monkeypatch.setattr("a2i_lib.data.casia.BATCH", 8)
    picture, kept = tmp_path / "CASIA-WebFace" / "0000003" / "001.jpg", tmp_path / "kept"
    good = picture.read_bytes()
    picture.write_bytes(b"")
    assert len(casia_folder(tmp_path, predictor(), progress=False, kept=kept)) == 59
    picture.write_bytes(good)
    assert len(casia_folder(tmp_path, predictor(), progress=False, kept=kept)) == 60


def test_casia_needs_folders_and_a_predictor(tmp_path):
    draw(tmp_path / "a.jpg", 1)
    with pytest.raises(DataError, match="no folders with pictures"):
        casia_folder(tmp_path, predictor())
    release = Release(torch.nn.Linear(1, 1), predictor().schema, predictor().card)
    with pytest.raises(DataError, match="is a Linear, which predicts no attributes"):
        casia_folder(tmp_path, release)


# ---------------------------------------------------------------------- your own


def test_own_pictures(tmp_path):
    own(tmp_path)
    source = own_folder(tmp_path / "pictures", tmp_path / "attributes.csv")
    assert [(a.name, a.kind) for a in source.schema] == [
        ("round", "binary"), ("big", "binary"), ("height", "score"),
    ]  # fmt: skip
    assert source.attributes[:4, 0].tolist() == [-1, 1, -1, 1]
    assert source.attributes[:4, 1].tolist() == [-1, 1, 1, -1]
    height = source.schema[2]
    np.testing.assert_allclose(
        height.mean + height.deviation * source.attributes[:, 2], np.arange(30) / 2, atol=1e-5
    )
    assert source.picture(0).size == (40, 40) and source.picture(1).size == (30, 30)
    squeezed = own_folder(tmp_path, tmp_path / "attributes.csv", crop="squeeze")
    assert squeezed.picture(1).size == (40, 40)
    for i in range(30):
        number = int(hashlib.sha256(f"{i:02d}.png".encode()).hexdigest()[:16], 16) % 10
        assert source.split[i] == {0: 1, 1: 2}.get(number, 0)


def test_own_pictures_in_an_archive_with_chosen_columns(tmp_path):
    archive = pack(own(tmp_path) / "pictures")
    source = own_folder(archive, tmp_path / "attributes.csv", attributes=["height", "round"])
    assert source.schema.names == ["height", "round"] and source.picture(1).size == (30, 30)
    with pytest.raises(DataError, match="no column 'hight'; did you mean 'height'"):
        own_folder(archive, tmp_path / "attributes.csv", attributes=["hight"])


def test_own_split_and_masks(tmp_path):
    own(tmp_path, n=6)
    rows = ["Smiling;image;Split;mask"]
    for i in range(6):
        Image.new("L", (40, 40), 255 * (i % 2)).save(tmp_path / "pictures" / f"m{i}.png")
        rows.append(f"{i % 2};{i:02d}.png;{('train', 'val', 'TEST')[i % 3]};m{i}.png")
    draw(tmp_path / "pictures" / "01.png", 8, 40, 40)
    write(tmp_path / "a.csv", "\n".join(rows))
    source = own_folder(tmp_path / "pictures", tmp_path / "a.csv")
    assert source.split.tolist() == [0, 1, 2] * 2 and source.schema.names == ["Smiling"]
    assert source.has_masks and np.asarray(source.mask(1)).min() == 255
    assert source.report.kept == 6 and "have no usable row" not in str(source.report)
    write(tmp_path / "a.csv", "\n".join(rows).replace("m3.png", "m9.png"))
    again = own_folder(tmp_path / "pictures", tmp_path / "a.csv", max_dropped=0.3)
    assert "1 dropped: its mask is missing" in str(again.report)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; its first line names the columns"),
        ("file\n00.png\n", "line 1: no attributes, only 'file'"),
        ("file,a,a\n00.png,1,1\n", "attribute 'a' is named 2 times"),
        ("file,a,,b\n00.png,1,1\n", "attribute '' is named 1 times"),
        ("file,colour\n00.png,red\n01.png,blue\n", "line 2: column 'colour' is 'red', and nowhere"),
        ('file,a\n"00.png,1\n', "none of its rows can be used"),
        ("file,a,split\n00.png,1,test\n01.png,0,test\n", "no training rows"),
        ("file,a\n", "no rows"),
    ],
)
def test_own_tables_that_cannot_be_used(tmp_path, text, message):
    own(tmp_path, n=2)
    write(tmp_path / "attributes.csv", text)
    with pytest.raises(DataError, match=message):
        own_folder(tmp_path, tmp_path / "attributes.csv", max_dropped=1)


def test_own_rows_that_cannot_be_used_are_counted(tmp_path):
    own(tmp_path)
    with open(tmp_path / "attributes.csv", "a") as file:
        file.write("00.png,yes,1,2\nnone.png,no,1,2\n01.png\n,no,1,1\n29.png,maybe,1,1\n")
    source = own_folder(tmp_path, tmp_path / "attributes.csv", max_dropped=0.2)
    assert len(source) == source.report.kept == 30 and source.report.read == 35
    for reason in (
        "a second row for the same picture", "its picture is missing", "not 4 columns",
        "no file in column 'file'", "column 'round' is no number or yes/no",
    ):  # fmt: skip
        assert f"1 dropped: {reason} (" in str(source.report)


# ---------------------------------------------------------------------- the real ones


def test_the_real_samples(shared_data):
    samples = shared_data / "samples"
    sources = {
        "lfw": lfw_folder(samples / "lfw"),
        "celeba": celeba_folder(samples / "celeba", attributes="slgan17"),
        "cub": cub_folder(samples / "cub", per="image"),
    }
    for name, (rows, attributes) in {"lfw": (40, 73), "celeba": (48, 17), "cub": (32, 312)}.items():
        source = sources[name]
        assert source.attributes.shape == (rows, attributes) and source.report.kept == rows
        sides = [source.picture(i).size for i in range(rows)]
        assert all(width == height > 60 for width, height in sides)
