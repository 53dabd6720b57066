"""Data sets: a file exports `DATA`, a frozen dataclass that loads a split and knows where its bytes come from."""
