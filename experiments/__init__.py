"""Thin scripts: parse flags, call the library, write the run directory."""
