"""The official layouts, tiny: drawn pictures, and tables in the form that the downloads have."""

import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from a2i_lib.data.celeba import ATTRIBUTES

LFW_NAMES = ["Male", "Middle Aged", "Strong Nose-Mouth Lines"]
CUB_NAMES = ["has_bill_shape::dagger", "has_bill_shape::hooked", "has_size::small_(5_-_9_in)"]


def draw(path: Path, shade: int, width: int = 250, height: int = 250, mode: str = "RGB") -> None:
    """A plain picture with a darker quarter at its upper left, so that turning it shows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGB", (width, height), (shade, shade, 255 - shade))
    picture.paste((shade // 2, 0, 0), (0, 0, width // 2, height // 2))
    picture.convert(mode).save(path)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def lfw(root: Path, people: int = 20, pictures: str = "lfw_funneled") -> Path:
    """`people` people with two pictures each; the last quarter of them is View 1's test part."""
    names = [f"Ada_B{i}" for i in range(people)]
    rows = ["# lfw_attributes.txt, made for a test", "#\tperson\timagenum\t" + "\t".join(LFW_NAMES)]
    for i, name in enumerate(names):
        for number in (1, 2):
            draw(root / pictures / name / f"{name}_{number:04d}.jpg", 40 + 10 * i)
            scores = [0.25 * i - 2, number - 1.5, -0.125 * i]
            rows.append("\t".join([name.replace("_", " "), str(number), *map(str, scores)]))
    write(root / "lfw_attributes.txt", "\n".join(rows) + "\n")
    border = people * 3 // 4
    for part, chosen in (("Train", names[:border]), ("Test", names[border:])):
        lines = [str(len(chosen)), *(f"{name}\t2" for name in chosen)]
        write(root / f"peopleDev{part}.txt", "\n".join(lines) + "\n")
    return root


def lfw_parts(root: Path, people: int) -> None:
    """Part labels of the first pictures of the first people: hair above skin in a blue ground."""
    for i in range(people):
        labels = Image.new("RGB", (250, 250), (0, 0, 255))
        labels.paste((255, 0, 0), (75, 50, 175, 100))
        labels.paste((0, 255, 0), (75, 100, 175, 200))
        path = root / "parts_lfw_funneled_gt_images" / f"Ada_B{i}_0001.ppm"
        path.parent.mkdir(exist_ok=True)
        labels.save(path)


def celeba(root: Path, n: int = 20) -> Path:
    """Picture i has the attributes whose number divides it; the last four are val and test."""
    rows = [str(n), " ".join(ATTRIBUTES) + " "]
    partition, identity = [], []
    for i in range(1, n + 1):
        name = f"{i:06d}.jpg"
        draw(root / "img_align_celeba" / name, 5 * i, 178, 218)
        signs = ["1" if i % k == 0 else "-1" for k in range(1, len(ATTRIBUTES) + 1)]
        rows.append(f"{name} " + " ".join(f"{sign:>2}" for sign in signs))
        partition.append(f"{name} {0 if i <= n - 4 else 1 if i <= n - 2 else 2}")
        identity.append(f"{name} {(i - 1) // 2}")
    write(root / "list_attr_celeba.txt", "\n".join(rows) + "\n")
    write(root / "list_eval_partition.txt", "\n".join(partition) + "\n")
    write(root / "identity_CelebA.txt", "\n".join(identity) + "\n")
    return root


def pack(folder: Path) -> Path:
    """The folder as FOLDER.zip beside it, with its name inside; the folder itself is removed."""
    archive = folder.with_name(folder.name + ".zip")
    with zipfile.ZipFile(archive, "w") as out:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                out.write(path, path.relative_to(folder.parent).as_posix())
                path.unlink()
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir()
    folder.rmdir()
    return archive


def cub(root: Path, species: int = 3, each: int = 6, segmented: bool = False) -> Path:
    """`attributes.txt` beside the folder, as in the archive; one row of labels has seven columns,
    as a few of the real ones.
    """
    folder = root / "CUB_200_2011"
    tables: dict[str, list[str]] = {name: [] for name in CUB_TABLES}
    for k, name in enumerate(CUB_NAMES, 1):
        tables["attributes.txt"].append(f"{k} {name}")
    number = 0
    for s in range(1, species + 1):
        bird = f"{s:03d}.Bird_{s}"
        tables["classes.txt"].append(f"{s} {bird}")
        percent = [100.0 if k == s else 20.5 for k in range(1, len(CUB_NAMES) + 1)]
        tables["class_attribute_labels_continuous.txt"].append(" ".join(map(str, percent)))
        for j in range(each):
            number += 1
            path = f"{bird}/Bird_{s}_{j:04d}.jpg"
            draw(folder / "images" / path, 10 * number, 80, 60)
            tables["images.txt"].append(f"{number} {path}")
            tables["image_class_labels.txt"].append(f"{number} {s}")
            tables["train_test_split.txt"].append(f"{number} {int(j < each - 2)}")
            tables["bounding_boxes.txt"].append(f"{number} 10.0 20.0 40.0 30.0")
            for k in range(1, len(CUB_NAMES) + 1):
                extra = " 0 0" if (number, k) == (2, 3) else ""
                row = f"{number} {k} {int((number + k) % 2)} 3{extra} 1.708"
                tables["image_attribute_labels.txt"].append(row)
            if segmented:
                mask = Image.new("L", (80, 60))
                mask.paste(255, (30, 10, 70, 40))
                place = folder / "segmentations" / Path(path).with_suffix(".png")
                place.parent.mkdir(parents=True, exist_ok=True)
                mask.save(place)
    for name, lines in tables.items():
        write(root / CUB_TABLES[name] / name, "\n".join(lines) + "\n")
    return root


CUB_TABLES = {
    "attributes.txt": ".",
    "classes.txt": "CUB_200_2011",
    "images.txt": "CUB_200_2011",
    "image_class_labels.txt": "CUB_200_2011",
    "train_test_split.txt": "CUB_200_2011",
    "bounding_boxes.txt": "CUB_200_2011",
    "image_attribute_labels.txt": "CUB_200_2011/attributes",
    "class_attribute_labels_continuous.txt": "CUB_200_2011/attributes",
}


def casia(root: Path, people: int = 30) -> Path:
    for i in range(people):
        for j in (1, 2):
            draw(root / "CASIA-WebFace" / f"{i:07d}" / f"{j:03d}.jpg", 4 * i)
    return root


def own(root: Path, n: int = 30) -> Path:
    """Pictures of two shapes, and `attributes.csv` with a word, a sign and a number for each."""
    rows = ["file,round,big,height"]
    for i in range(n):
        draw(root / "pictures" / f"{i:02d}.png", 8 * i, 40, 30 if i % 2 else 40)
        rows.append(f"{i:02d}.png,{'yes' if i % 2 else 'no'},{1 if i % 3 else -1},{i / 2}")
    write(root / "attributes.csv", "\n".join(rows) + "\n")
    return root


def pixel(picture: Image.Image, x: float = 0.75, y: float = 0.75) -> tuple[int, ...]:
    """The colour at a share of width and height."""
    return tuple(np.asarray(picture)[int(y * picture.height), int(x * picture.width)].tolist())
