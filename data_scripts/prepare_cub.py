"""Prepare Caltech-UCSD Birds 200-2011 (CUB) for the book.

Official home: vision.caltech.edu/datasets/cub_200_2011 (images, attributes; the segmentations are
an archive of their own).

This script reads a Parquet file with the columns image and mask (struct<bytes, path>, cut to the
bounding box and square), class_id, split ("train"/"test") and class_attributes_percent (312
numbers), whose metadata "a2i" names the 312 attributes. For non-commercial research and teaching
only.
"""

from a2i_lib.data.cli import run_script

if __name__ == "__main__":
    run_script("cub", __doc__)
