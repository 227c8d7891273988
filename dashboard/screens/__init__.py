"""What fills the terminal: the views, the details of a row, a question."""
