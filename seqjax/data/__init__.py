"""Real data sets, one file each, through Hugging Face `datasets`: a function of the file's name makes a Task."""
