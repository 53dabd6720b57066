"""Power over time: what a meter leaves (`trace`), what is drawn from it (`integrate`), and how two clocks are set beside each other (`offset`)."""
