#!/bin/sh
# From files never seen to flats, for four instruments: the commands behind docs/instruments.md.
#
#   sh docs/examples/unseen.sh FOLDER [LHD]
#
# simulates three nights into FOLDER (one and a half gigabytes) and takes each from raw files to flats; LHD, where given,
# is a data root with a real night of the laboratory échelle (tmp/2019-03-14).
set -eu

work=$1
lhd=${2-}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$work"

# What an observatory would send: raw frames alone, and nothing that tells what they are.
raw() { # name, night's options
    name=$1
    shift
    flatcore simulate "$work/simulated/$name" --instrument "$here/instruments/$name.toml" --quiet "$@"
    mkdir -p "$work/$name/tmp"
    mv "$work/simulated/$name/tmp/2020-08-31" "$work/$name/tmp/"
}

# The instrument is looked at, its calibrations are made of the frames themselves, and the flats are made.
night() { # name, night, fibres
    echo "== $1"
    flatcore init "$work/$1/tmp/$2"/*.fits --fibers "$3" --output "$work/$1.toml" --yes
    flatcore bootstrap "$2" --data-root "$work/$1" --instrument "$work/$1.toml"
    flatcore run "$2" --data-root "$work/$1" --instrument "$work/$1.toml" || [ $? -eq 4 ]
}

raw harps_like --darks 5
night harps_like 2020-08-31 A,B

raw slit_like --darks 5
night slit_like 2020-08-31 S

raw hpf_like --darks 5
night hpf_like 2020-08-31 SCI,SKY,CAL

if [ -n "$lhd" ]; then
    mkdir -p "$work/lhd/tmp"
    cp -r "$lhd/tmp/2019-03-14" "$work/lhd/tmp/"
    night lhd 2019-03-14 A
fi
