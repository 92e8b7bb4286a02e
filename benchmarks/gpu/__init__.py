"""A kit for a CUDA machine without network and without Axolotl: is mindgap right there, and what does it cost?"""
