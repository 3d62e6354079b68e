"""What to ask whom for, where a dataset is given out by request only."""

from pathlib import Path

IN_SHOP = """\
In-Shop Clothes Retrieval is part of DeepFashion (Liu et al., CVPR 2016) and is given out by request, for research only:
  1. http://mmlab.ie.cuhk.edu.hk/projects/DeepFashion.html, "In-shop Clothes Retrieval Benchmark": read the terms, ask
     for access with the form there; the answer holds the password of the archives of images.
  2. Get Eval/list_eval_partition.txt, Anno/list_attr_cloth.txt, Anno/list_attr_items.txt (or Anno/attributes/..) and
     Img/img.zip (256 x 256 pixels; img_highres.zip is not needed), and unzip it with the password.
  3. Put them into {folder}: Eval/, Anno/ and img/ (or Img/img/)."""

POLYVORE = """\
Polyvore Outfits (Vasileva et al., ECCV 2018) is given out by request, for research only:
  1. https://github.com/mvasil/fashion-compatibility says where it is by now: once a form and a link to Google Drive,
     since then https://huggingface.co/datasets/mvasil/polyvore-outfits, which needs an account and a request (6 GB).
  2. Get polyvore_item_metadata.json, the images and the folder nondisjoint/ or disjoint/ or both, each with
     train, valid and test.json, compatibility_valid and _test.txt, fill_in_blank_valid and _test.json.
  3. Put them into {folder}.
     Each image is images/<item_id>.jpg, so images that come as .parquet must be written out; typespaces.p is not
     needed."""

WORDS = {"inshop": IN_SHOP, "polyvore": POLYVORE}


def say_where(dataset: str, folder: Path) -> str:
    """A few lines on how to get `inshop` or `polyvore`, and that `folder` is where it goes."""
    return WORDS[dataset].format(folder=folder)
