"""Download Caltech-UCSD Birds 200-2011 (CUB) and prepare it for the book.

    python data_scripts/get_cub.py --size 64

Photographs and attributes of 200 species (1.2 GB), and the masks, an archive of its own, come from
the California Institute of Technology or a mirror. For non-commercial research and teaching only.

Before anything is fetched the script says what, how large and under which terms, and asks. What is
there already is not fetched again; a download that was stopped goes on. With --from it fetches
nothing, and prepares a folder as published or a Parquet file.
"""

from a2i_lib.data.get import run_script

if __name__ == "__main__":
    run_script("cub", __doc__)
