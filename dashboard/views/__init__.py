"""The tables of the views: rows of the model to cells, as data and pure functions."""
