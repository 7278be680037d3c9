"""Where the papers' data sets are, under which terms, how large; and `download`, which fetches one.

A hash stands here only if somebody who had the file published it: torchvision and scikit-learn
(LFW, CelebA), TensorFlow Datasets (sizes, SHA-256 of CelebA and CUB), the part labels' users (MD5).
`None` means that nobody did, and the plan says so.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from a2i_lib.data.archives import unpack
from a2i_lib.data.dataset import DataError, did_you_mean
from a2i_lib.data.download import DownloadError, RemoteFile, fetch

ROOT = Path("downloads")
LFW = "http://vis-www.cs.umass.edu/lfw"
LFW_LISTS = (  # the same two lists, at a fixed version of somebody's repository
    "https://raw.githubusercontent.com/charlesreid1/in-your-face/"
    "00d3f2e4bdcc3ef8a851e5e133cde29d2f574f15/data"
)
DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="
CELEBA_FOLDER = (
    "the folders Img, Anno and Eval of"
    " https://drive.google.com/drive/folders/0B7EVK8r0v71pWEZsZE9oNnFzTm8, which is linked from"
    " http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
)
CELEBA_HUB = (
    "https://huggingface.co/datasets/flwrlabs/celeba/resolve/"
    "6c14bd4eb86179a64c3f34900da75f270245ce47/img_align%2Bidentity%2Battr"
)
SHARDS = {"train": (19, 497_000_000), "valid": (3, 387_000_000), "test": (3, 386_000_000)}


@dataclass(frozen=True)
class Collection:
    """A data set as it can be had.

    Args:
        name: as in `a2i data NAME`.
        title: what it is, in a line.
        home: address of its own page.
        terms: of use, in a sentence.
        files: that make it up, in the order in which they are fetched; none: it is by hand only.
        mirror: another form of the whole, for when those cannot be had.
        by_hand: how to come by it where there is nothing to fetch.
        places: names under which it is looked for then.
    """

    name: str
    title: str
    home: str
    terms: str
    files: tuple[RemoteFile, ...] = ()
    mirror: tuple[RemoteFile, ...] = ()
    by_hand: str = ""
    places: tuple[str, ...] = ()


def _lfw() -> Collection:
    lists = {
        "peopleDevTrain.txt": "54eaac34beb6d042ed3a7d883e247a21",
        "peopleDevTest.txt": "e4bf5be0a43b5dcd9dc5ccfcb8fb19c5",
    }
    return Collection(
        "lfw",
        "Labeled Faces in the Wild: 13,233 photographs of 5,749 people, 73 attribute scores",
        LFW + "/",
        "press photographs without a licence, collected for research on recognising faces; the"
        " attribute scores are for non-commercial use",
        tuple(
            RemoteFile(name, (f"{LFW}/{name}", f"{LFW_LISTS}/{name}"), md5=md5, about=50_000)
            for name, md5 in lists.items()
        )
        + (
            RemoteFile(
                "lfw_attributes.txt",
                (
                    "https://www.cs.columbia.edu/CAVE/databases/pubfig/download/lfw_attributes.txt",
                    "http://www.cs.columbia.edu/CAVE/databases/pubfig/download/lfw_attributes.txt",
                ),
                about=20_000_000,
            ),
            RemoteFile(
                "parts_lfw_funneled_gt_images.tgz",
                (f"{LFW}/part_labels/parts_lfw_funneled_gt_images.tgz",),
                md5="3e7e26e801c3081d651c8c2ef3c45cfc",
                about=10_000_000,
                gives="parts_lfw_funneled_gt_images",
                unpack=True,
                unpacked=550_000_000,
                lacking="masks",
            ),
            RemoteFile(
                "lfw-funneled.tgz",
                (f"{LFW}/lfw-funneled.tgz", "https://ndownloader.figshare.com/files/5976015"),
                sha256="b47c8422c8cded889dc5a13418c4bc2abbda121092b3533a83306f90d900100a",
                md5="1b42dfed7d15c9b2dd63d5e5840c86ad",
                size=243_346_528,
                gives="lfw_funneled",
                unpack=True,
                unpacked=300_000_000,
            ),
        ),
    )


def _celeba() -> Collection:
    by_hand = f"{CELEBA_FOLDER}; or take another form of the whole with --mirror"
    shards = tuple(
        RemoteFile(name, (f"{CELEBA_HUB}/{name}",), about=about)
        for split, (n, about) in SHARDS.items()
        for name in (f"{split}-{k:05d}-of-{n:05d}.parquet" for k in range(n))
    )
    return Collection(
        "celeba",
        "CelebA: 202,599 photographs of 10,177 people, aligned, 40 attributes",
        "http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        "non-commercial research only; no part may be copied or passed on outside your own site",
        (
            RemoteFile(
                "list_attr_celeba.txt",
                (
                    DRIVE + "0B7EVK8r0v71pblRyaVFSWGxPY0U",
                    DRIVE + "1gxmFoeEPgF9sT65Wpo85AnHl3zsQ4NvS",
                ),
                sha256="f0e5da289d5ccf75ffe8811132694922b60f2af59256ed362afa03fefba324d0",
                md5="75e246fa4810816ffd6ee81facbd244c",
                size=26_721_026,
                by_hand=by_hand,
            ),
            RemoteFile(
                "list_eval_partition.txt",
                (
                    DRIVE + "0B7EVK8r0v71pY0NSMzRuSXJEVkk",
                    DRIVE + "1ih_VMokoI774ErNWrb26lDeWlanUBpnX",
                ),
                sha256="fc955bcb3ef8fbdf7d5640d9a8693a8431b5f2ee291a5c1449a1549e7e073fe7",
                md5="d32c9cbf5e040fd4025c592c306e6668",
                size=2_836_386,
                by_hand=by_hand,
            ),
            RemoteFile(
                "identity_CelebA.txt",
                (DRIVE + "1_ee_0u7vcNLOfNLegJRHmolfH5ICW-XS",),
                md5="32bd1bd63d3c78cd57e08160ec5ed1e2",
                about=3_400_000,
                lacking="identities",
                by_hand=by_hand,
            ),
            RemoteFile(
                "img_align_celeba.zip",
                (
                    DRIVE + "0B7EVK8r0v71pZjFTYXZWM3FlRnM",
                    "https://s3-us-west-1.amazonaws.com/udacity-dlnfd/datasets/celeba.zip",
                ),
                sha256="46fb89443c578308acf364d7d379fe1b9efb793042c0af734b6112e4fd3a8c74",
                md5="00d2c5bc6d35e252742224ab0c1e8fcb",
                size=1_443_490_838,
                gives="img_align_celeba",
                by_hand=by_hand,
            ),
        ),
        shards,
    )


def _cub() -> Collection:
    return Collection(
        "cub",
        "Caltech-UCSD Birds 200-2011: 11,788 photographs of 200 species, 312 attributes, masks",
        "https://www.vision.caltech.edu/datasets/cub_200_2011/",
        "non-commercial research and teaching only; the photographs belong to their authors",
        (
            RemoteFile(
                "segmentations.tgz",
                (
                    "https://data.caltech.edu/records/w9d68-gec53/files/segmentations.tgz?download=1",
                    DRIVE + "1EamOKGLoTuZdtcVYbHMWNpkn3iAVj8TP",
                ),
                sha256="dc77f6cffea0cbe2e41d4201115c8f29a6320ecb04fffd2444f51b8066e4b84f",
                md5="4d47ba1228eae64f2fa547c47bc65255",
                size=39_272_883,
                gives="segmentations",
                unpack=True,
                unpacked=100_000_000,
                lacking="masks",
            ),
            RemoteFile(
                "CUB_200_2011.tgz",
                (
                    "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz?download=1",
                    DRIVE + "1hbzc_P1FuxMkcabkgn9ZKinBwW683j45",
                ),
                sha256="0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
                md5="97eceeb196236b17998738112f37df78",
                size=1_150_585_339,
                gives="CUB_200_2011",
                unpack=True,
                unpacked=1_400_000_000,
            ),
        ),
    )


def _casia() -> Collection:
    return Collection(
        "casia",
        "CASIA-WebFace: 494,414 photographs of 10,575 people, no attributes",
        "http://www.cbsr.ia.ac.cn/english/CASIA-WebFace-Database.html",
        "academic research only, by a signed agreement with the Institute of Automation of the"
        " Chinese Academy of Sciences",
        by_hand="CASIA-WebFace has no open official download any more. Ask its authors (D. Yi,"
        " Z. Lei, S. Liao, S. Z. Li, 'Learning Face Representation from Scratch',"
        " arXiv:1411.7923), with the agreement from the data set's page if it is there, or your"
        " institution, which may hold a copy",
        places=("CASIA-WebFace", "CASIA-WebFace.zip"),
    )


CATALOGUE = {entry.name: entry for entry in (_lfw(), _celeba(), _cub(), _casia())}


def find(name: str) -> Collection:
    """Raises DataError for a data set that is not in the catalogue."""
    if name not in CATALOGUE:
        raise DataError(f"unknown data set {name!r}: {did_you_mean(name, CATALOGUE)}")
    return CATALOGUE[name]


def missing(files: Sequence[RemoteFile], folder: Path) -> list[RemoteFile]:
    """Those that must be fetched: neither the file nor what its archive gives is there."""
    return [f for f in files if not (_unpacked(f, folder) or (folder / f.name).exists())]


def _unpacked(file: RemoteFile, folder: Path) -> bool:
    return bool(file.gives) and (folder / file.gives).is_dir()


def need(files: Sequence[RemoteFile], folder: Path) -> tuple[int, int]:
    """Bytes still to fetch, and bytes of disk for all that is still to be done."""
    fetched = unpacked = 0
    for file in missing(files, folder):
        part = folder / f"{file.name}.part"
        fetched += max(0, file.expected - (part.stat().st_size if part.exists() else 0))
    for file in files:
        if file.unpack and not _unpacked(file, folder):
            unpacked += file.unpacked
    return fetched, fetched + unpacked


def plan(entry: Collection, folder: Path, mirror: bool = False) -> str:
    """What `download` would fetch, how large it is, and under which terms, for a person to read."""
    files = entry.mirror if mirror else entry.files
    wanted = missing(files, folder)
    lines = [entry.title, f"  home: {entry.home}", f"  terms: {entry.terms}"]
    for file in files:
        if file not in wanted:
            lines.append(f"  {file.name}: there already")
            continue
        size = f"{'' if file.size else 'about '}{megabytes(file.expected)}"
        lacking = f"; without it, no {file.lacking}" if file.lacking else ""
        lines.append(f"  {file.name}: {size}, {file.check}{lacking}")
        lines += [f"    {'or' if k else 'from'} {a}" for k, a in enumerate(file.addresses)]
    fetched, disk = need(files, folder)
    lines.append(f"To fetch: {megabytes(fetched)} into {folder}; needs {megabytes(disk)} of disk")
    if entry.mirror and wanted and not mirror:
        size = megabytes(sum(file.expected for file in entry.mirror))
        lines.append(f"If this is refused: --mirror, {len(entry.mirror)} Parquet files, {size}")
    return "\n".join(lines)


def download(
    entry: Collection,
    folder: Path,
    mirror: bool = False,
    progress: bool = True,
    pause: float = 2.0,
) -> list[Path]:
    """Fetches what is missing, checks what is there, and unpacks what must be.

    Args:
        pause: as for `fetch`.

    Returns:
        What `a2i data NAME --from` takes: the folder, or the mirror's Parquet files.

    Raises:
        DataError: nothing can be fetched, a file could not be had or is not the published one, an
            archive is not as it should be; says what to do.
        OSError: the disk has no room, said before anything is fetched.
    """
    files = entry.mirror if mirror else entry.files
    if not files:
        return [_by_hand(entry, folder, mirror)]
    folder.mkdir(parents=True, exist_ok=True)
    _require_room(entry, need(files, folder)[1], folder)
    for file in files:
        if _unpacked(file, folder):
            continue
        try:
            archive = fetch(file, folder, progress, pause)
            if file.unpack:
                unpack(archive, folder, file.gives, 3 * file.unpacked, progress)
        except DownloadError as error:
            if not file.lacking or (folder / file.name).exists():
                raise
            print(f"{error}\nGoing on without it: there will be no {file.lacking}")
    return [folder / file.name for file in files] if mirror else [folder]


def _require_room(entry: Collection, disk: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if disk > free:
        what = f"{entry.name} needs {megabytes(disk)}, {megabytes(free)} are free"
        raise OSError(errno.ENOSPC, what, str(folder))


def _by_hand(entry: Collection, folder: Path, mirror: bool) -> Path:
    """Where a person has put what cannot be fetched; raises DataError that says where to put it."""
    if mirror:
        raise DataError(f"{entry.name}: no other form of it is known; run this without --mirror")
    for place in entry.places:
        if (folder / place).exists():
            return folder / place
    places = " or ".join(str(folder / place) for place in entry.places)
    raise DataError(
        f"{entry.title}\n{entry.by_hand}.\nTerms: {entry.terms}.\nPut it at {places}, a folder of"
        " photographs for each person, and run the command again"
    )


def megabytes(count: float) -> str:
    return f"{count / 1e6:,.0f} MB" if count >= 1e6 else f"{count / 1e3:,.0f} kB"
