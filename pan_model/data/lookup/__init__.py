"""Find what a dataset consists of on disk: `placement.py` its folder, `image_files.py` its images."""
