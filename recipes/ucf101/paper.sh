#!/usr/bin/env bash
# The paper's table of UCF101 on one official split: four networks, fused twice, each measured on the test videos.
#
#     bash recipes/ucf101/paper.sh UCF101/ [SPLIT] [WEIGHTS]
#
# UCF101/ holds the videos and the official lists; SPLIT is 1, 2 or 3; WEIGHTS is the model folder of the CNN trained on
# ImageNet (`lrcn models import`), or none. What was trained before is not trained again.
#
# Expected, mean of the three splits, % (Donahue et al., arXiv 1411.4389v4, table 1):
#
#                   RGB    flow   RGB/2 + flow/2   RGB/3 + 2 flow/3
#   single frame   67.37   74.37           75.46              78.94
#   LRCN-fc6       68.20   77.28           80.90              82.34
set -euo pipefail
data=$1
split=${2:-1}
weights=${3:-models/hybrid-imagenet}
recipes=$(dirname "${BASH_SOURCE[0]}")
runs=runs/split-$split
[[ $split == 1 ]] && runs=runs # where the recipes by themselves leave and look for what they train
manifest=ucf101-$split.jsonl

trained() { # RECIPE WEIGHTS: the CNN of split 2 must never begin from that of split 1, which saw its test videos
    lrcn train "$recipes/$1.yaml" --data.source "$manifest" --model.encoder.weights "$2" --out "$runs/$1"
}

fused() { # NAME P RGB FLOW
    lrcn models fuse "$runs/$3/model" "$runs/$4/model" --weights "$2" --out "$runs/$1/model"
    lrcn eval --model "$runs/$1/model" --data "$manifest" --out "$runs/$1"
}

lrcn data import ucf101 "$data" --split-number "$split" -o "$manifest"
trained single-frame-rgb "$weights"
trained single-frame-flow "$weights"
trained lrcn-fc6-rgb "$runs/single-frame-rgb/model"
trained lrcn-fc6-flow-1024 "$runs/single-frame-flow/model"
fused single-frame-half 1/2 single-frame-rgb single-frame-flow
fused single-frame-third 1/3 single-frame-rgb single-frame-flow
fused lrcn-fc6-half 1/2 lrcn-fc6-rgb lrcn-fc6-flow-1024
fused lrcn-fc6-third 1/3 lrcn-fc6-rgb lrcn-fc6-flow-1024
