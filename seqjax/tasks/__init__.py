"""Synthetic tasks, one file each, sampled on the device: a function of the file's name makes a Task."""
