"""Folders of images: `reader.py` reads a folder a class, `attribute_table.py` its attributes.csv.

`placement.py` finds the folder of any dataset, `image_files.py` the files of listed images. May import data.
"""
