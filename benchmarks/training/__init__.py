"""The training and evaluation of one run. Nothing in this room reads or writes a results folder."""
