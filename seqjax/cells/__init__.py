"""One file a cell, holding a function of its own name that makes a Cell."""
