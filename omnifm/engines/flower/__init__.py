"""The engine for many hospitals: the same rounds over Flower. All that imports Flower lies in this folder."""
