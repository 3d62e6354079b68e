"""Images in a folder a class: `reader.py` lists them, `attribute_table.py` reads attributes.csv. May import data."""
