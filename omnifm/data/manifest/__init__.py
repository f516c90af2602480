"""A data set as a table: a row for each image, with its labels, masks or questions, its patient and its hospital."""
