"""Front ends: from recordings to the features that a network is given."""
