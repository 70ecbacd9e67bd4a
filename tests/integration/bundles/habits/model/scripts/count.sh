#!/bin/sh
# The model runs this by its path, so its execute bit must arrive.
wc -c < "$1"
