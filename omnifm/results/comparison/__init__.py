"""What a comparison has found, read from its folder: numbers, tables, charts and one report."""
