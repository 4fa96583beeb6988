#!/bin/sh
# Train the shipped starter checkpoint from a datalist: general encoder and branch, detail branch, captions, scores.
# Resumable: a stopped run goes on where it was. Usage: tools/starter.sh DATA [OUT]
set -eu
data=$1
out=${2:-runs/starter}
bundle=${BUNDLE:-bundle}
python=${PYTHON:-.venv/bin/python}
amp=${AMP:-bfloat16}
# Large buffers are kept between steps instead of going back to the system each time: a third of the time on CPU.
export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592
configs=$bundle/configs
run() {
    "$python" -m monai.bundle run "$@" --bundle_root "$bundle" --logging_file "$configs/logging.conf" \
        --dataset_dir "$data" --amp_dtype "$amp"
}

echo "== 1. general branch and its encoder, from pixels"
run training --config_file "['$configs/pretrain.json','$configs/tune_general.json']" --output_dir "$out/general" \
    --epochs "${GENERAL_EPOCHS:-4}" --batch_size 32
"$python" -m scripts.weights.publish encoder "$out/general/model.pt" general "$out/general_encoder.pt"

echo "== 2. detail branch, from cached tokens"
run training --config_file "$configs/pretrain.json" --output_dir "$out/detail" --epochs "${DETAIL_EPOCHS:-4}" \
    --feature_cache_dir "$out/features" --general_encoder_weights "$out/general_encoder.pt" \
    --branches "{'detail': '@detail_branch'}"

echo "== 3. captions"
run training --config_file "$configs/train.json" --output_dir "$out/train" --epochs "${CAPTION_EPOCHS:-5}" \
    --feature_cache_dir "$out/features" --general_encoder_weights "$out/general_encoder.pt" \
    --language_model_dtype bfloat16 --pretrained "['$out/general/model.pt','$out/detail/model.pt']"

echo "== 4. into the bundle, and scored from there"
cp "$out/general_encoder.pt" "$bundle/models/general_encoder.pt"
"$python" -m scripts.weights.publish model "$out/train/model.pt" "$bundle/models/model.pt"
run --config_file "['$configs/train.json','$configs/evaluate.json']" --output_dir "$out/evaluate" \
    --feature_cache_dir "$out/features" --amp_dtype float32
