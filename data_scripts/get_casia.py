"""Prepare CASIA-WebFace for the book, and say how to come by it.

    python data_scripts/get_casia.py
    python data_scripts/get_casia.py --from CASIA-WebFace --size 64

The 494,414 photographs of 10,575 people have no open official download any more: the script says
whom to ask and where to put what you are given. The agreement allows academic research only.
"""

from a2i_lib.data.get import run_script

if __name__ == "__main__":
    run_script("casia", __doc__)
