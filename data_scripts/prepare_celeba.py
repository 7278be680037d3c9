"""Prepare CelebA for the book.

Official home: mmlab.ie.cuhk.edu.hk/projects/CelebA.html. Its file store often answers "quota
exceeded"; mirrors on dataset hubs carry the aligned images as Parquet shards, for instance

    huggingface-cli download flwrlabs/celeba --repo-type dataset --local-dir celeba
    python data_scripts/prepare_celeba.py --from "celeba/img_align+identity+attr/*.parquet"

Any Parquet files will do that have a column image (struct<bytes, path>), one column for each of the
40 attributes, and a column partition (0, 1, 2) or shards named train-..., valid-..., test-....
The data set's agreement allows non-commercial research only.
"""

from a2i_lib.data.cli import run_script

if __name__ == "__main__":
    run_script("celeba", __doc__)
