"""Published numbers and the settings they were got with: one file a paper, which holds a PAPER. Data, no logic."""
