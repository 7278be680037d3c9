"""Prepare Labeled Faces in the Wild (LFW) for the book.

Images: "aligned with funneling", from the data set's home at the University of Massachusetts
(vis-www.cs.umass.edu/lfw); scikit-learn's `fetch_lfw_people` gets them from a mirror.
Attributes: lfw_attributes.txt, from the PubFig pages at Columbia University
(cs.columbia.edu/CAVE/databases/pubfig); the binary LFWA+ labels are by CelebA's authors.
Masks: the part labels (vis-www.cs.umass.edu/lfw/part_labels), which cover 2,927 of the images.

This script reads the three joined in a Parquet file with the columns image and mask
(struct<bytes, path>), person, view1 ("train"/"test"), attributes (73 x 0/1) and scores_estimated
(73 numbers), whose metadata "a2i" names the 73 attributes. Images of people: for non-commercial
research only.
"""

from a2i_lib.data.cli import run_script

if __name__ == "__main__":
    run_script("lfw", __doc__)
