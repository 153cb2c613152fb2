#!/bin/sh
# Makes the two fonts here from those in matplotlib's wheel (DejaVu 2.37):
#   pip install fonttools==4.68.0 matplotlib==3.9.2 && sh subset.sh
# Kept: Latin, Latin-1, Latin Extended-A and -B in part, Greek, Cyrillic, punctuation, super- and subscripts, arrows,
# mathematical operators and the few shapes that texts use. Other scripts come from the system's fonts.
set -eu
cd "$(dirname "$0")"
from=$(python3 -c 'import matplotlib; print(matplotlib.get_data_path())')/fonts/ttf
kept='U+0020-007E,U+00A0-017F,U+0192,U+01CD-01D4,U+0218-021B,U+02C6-02DD,U+0300-0304,U+0370-03FF,U+0400-045F'
kept="$kept,U+1E9E,U+2002-2027,U+202F-203A,U+2044,U+2070-208E,U+20AC,U+2116,U+2122,U+2190-2199,U+21D0-21D4"
kept="$kept,U+2200-22A5,U+25A0-25AB,U+25B2-25BD,U+25C6-25CB,U+25CF,U+2605,U+2606,U+2713,U+2717,U+FFFD"
for face in DejaVuSans DejaVuSans-Bold; do
    python3 -m fontTools.subset "$from/$face.ttf" --unicodes="$kept" --output-file="$face.subset.ttf" \
        --no-hinting --layout-features=kern,mark,ccmp,locl --name-IDs=0,1,2,3,4,5,6,13,14 \
        --drop-tables+=FFTM --no-recalc-timestamp
done
cp "$from/LICENSE_DEJAVU" LICENSE
