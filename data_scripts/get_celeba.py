"""Download CelebA and prepare it for the book.

    python data_scripts/get_celeba.py --size 64
    python data_scripts/get_celeba.py --mirror --size 64

The official home of the 202,599 aligned photographs, their 40 attributes and the split is a Google
Drive folder, whose daily quota is often used up. Then the script says so, takes the images from a
copy, and names what is left to do: put a file that you downloaded with a browser where it says, or
take the data set as Parquet files from a dataset hub with --mirror (about 12 GB).

The data set's agreement allows non-commercial research only.

Before anything is fetched the script says what, how large and under which terms, and asks. What is
there already is not fetched again; a download that was stopped goes on. With --from it fetches
nothing, and prepares a folder as published or Parquet files.
"""

from a2i_lib.data.get import run_script

if __name__ == "__main__":
    run_script("celeba", __doc__)
