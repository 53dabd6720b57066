"""Networks: a file exports `MODEL`, a frozen dataclass that builds the module and names its data and metric."""
