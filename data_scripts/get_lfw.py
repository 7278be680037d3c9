"""Download Labeled Faces in the Wild (LFW) and prepare it for the book.

    python data_scripts/get_lfw.py --size 64

Images "aligned with funneling", View 1's lists and part labels (masks of 2,927 images) come from
the data set's home at the University of Massachusetts or a mirror; the 73 real-valued attribute
scores of each image from Columbia University. The photographs are the press's: for non-commercial
research only.

Before anything is fetched the script says what, how large and under which terms, and asks. What is
there already is not fetched again; a download that was stopped goes on. With --from it fetches
nothing, and prepares a folder as published or a Parquet file.
"""

from a2i_lib.data.get import run_script

if __name__ == "__main__":
    run_script("lfw", __doc__)
