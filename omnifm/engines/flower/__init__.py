"""The engine for many hospitals: the same rounds over Flower. Only this folder imports Flower."""
