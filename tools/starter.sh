#!/bin/sh
# Train the shipped starter checkpoint from a datalist: general encoder, its concept reader, stage 1, captions,
# calibration, scores.
# Resumable: a stopped run goes on where it was. Usage: tools/starter.sh DATA [OUT]
# DATA is a folder with datalist.json, or several ("a b"), which are joined: docs/datasets.md.
set -eu
data=$1
out=${2:-runs/starter}
bundle=${BUNDLE:-bundle}
python=${PYTHON:-.venv/bin/python}
amp=${AMP:-auto} # bfloat16 where the device has units for it; emulated it is many times slower than float32
configs=$bundle/configs
mkdir -p "$out"
dataset_dir=$data
datalist=$data/datalist.json
if [ ! -d "$data" ]; then
    # shellcheck disable=SC2086 # several folders
    "$python" -m scripts.commands.datalist join $data --output "$out/datalist.json" --wording "${WORDING:-varied}"
    # shellcheck disable=SC2086
    dataset_dir=$("$python" -c "import sys; from scripts.data.builders.join import common_folder as above; print(above(sys.argv[1:]))" $data)
    datalist=$out/datalist.json
fi
step() { # TITLE
    echo "== $(date +%H:%M:%S) $1"
}
run() {
    "$python" -m monai.bundle run "$@" --bundle_root "$bundle" --logging_file "$configs/logging.conf" \
        --dataset_dir "$dataset_dir" --datalist "$datalist"
}

step "1. general encoder, tuned from pixels on phrases and fields of the captions; and beside it, for the concept reader,"
echo "            a second encoder, tuned apart on larger images; what it prints is in $out/reader.log"
# Each takes half of the cores: small networks leave a second core idle half of the time.
cores=$(getconf _NPROCESSORS_ONLN)
half=$(((cores + 1) / 2))
tune() { # NAME SIZE SEED EPOCHS
    for id in training export; do
        OMP_NUM_THREADS=${OMP_NUM_THREADS:-$half} run $id \
            --config_file "['$configs/pretrain.json','$configs/tune_general.json']" --output_dir "$out/$1" \
            --image_size "$2" --seed "$3" --epochs "$4" --amp_dtype "$amp" --similar_cases "" # that of both comes in step 5
    done
}
tune reader 256 1 "${READER_EPOCHS:-10}" >"$out/reader.log" 2>&1 &
reader=$!
trap 'pkill -TERM -P $reader 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM
tune general 224 0 "${ENCODER_EPOCHS:-12}"
wait $reader || { echo "The second encoder stopped: see $out/reader.log"; exit 1; }
trap - EXIT INT TERM
publish_encoder() { # FILE
    "$python" -m scripts.checkpoints.publish encoder "$out/general/model.pt" general "$1"
}
publish_encoder "$out/general_encoder.pt"

step "2. concept reader: the mean of what both encoders read"
publish_reader() { # FILE
    "$python" -m scripts.checkpoints.publish reader "$out/general/concept_reader.safetensors" \
        "$out/reader/concept_reader.safetensors" "$1"
}
publish_reader "$out/concept_reader.safetensors"

step "3. stage 1: both branches, from cached tokens of two random versions of each image"
run training --config_file "['$configs/pretrain.json','$configs/augmented.json']" --output_dir "$out/pretrain" --epochs "${PRETRAIN_EPOCHS:-3}" \
    --feature_cache_dir "$out/features" --cache_compute_dtype "$amp" \
    --general_encoder_weights "$out/general_encoder.pt" --amp_dtype "$amp"

step "4. stage 2: captions"
run training --config_file "['$configs/train.json','$configs/augmented.json']" --output_dir "$out/train" \
    --epochs "${CAPTION_EPOCHS:-5}" \
    --feature_cache_dir "$out/features" --cache_compute_dtype "$amp" \
    --general_encoder_weights "$out/general_encoder.pt" --amp_dtype "$amp" \
    --language_model_dtype "$amp" --pretrained "$out/pretrain/model.pt"

step "5. into the bundle"
# Published, not copied: each command below corrects the list of checksums there, or the file would be refused as damaged.
publish_encoder "$bundle/models/general_encoder.pt"
publish_reader "$bundle/models/concept_reader.safetensors"
"$python" benchmarks/strange_pictures.py "$out/strange" --count 840 --first 1001 ${PHOTOGRAPHS:+--photographs "$PHOTOGRAPHS"}
"$python" -m scripts.studies.fit_familiarity --datalist "$datalist" --dataset_dir "$dataset_dir" --others "$out/strange" \
    --bundle_root "$bundle" # what does not look medical to this reader is withheld
"$python" -m scripts.checkpoints.publish model "$out/train" "$bundle/models/model.pt"
"$python" -m scripts.commands.similar "$datalist" --dataset_dir "$dataset_dir" "$bundle/models/similar_cases.safetensors" \
    --captions false --bundle_root "$bundle" # what captions say, and not their text

step "6. how sure its captions are, and which finding is the likeliest: calibration into the bundle, figures and curves beside"
"$python" -m scripts.studies.calibrate --datalist "$datalist" --dataset_dir "$dataset_dir" --bundle_root "$bundle" \
    --output_dir "$out/confidence" --samples 0

step "7. scored from the bundle: as users get it, with an archive, without the concept reader, and the reader alone"
evaluate() {
    run --config_file "['$configs/train.json','$configs/evaluate.json']" --feature_cache_dir "$out/features" "$@"
}
beside() { # STUDY OPTION VALUE
    "$python" -m "scripts.studies.$1" --datalist "$datalist" --dataset_dir "$dataset_dir" --output "$out/$1/captions.jsonl" "$2" "$3"
}
beside with_archive --bundle_root "$bundle"
evaluate --output_dir "$out/evaluate_method" --concept_reader "" --baselines false
beside reader_alone --reader "$bundle/models/concept_reader.safetensors"
also="'starter with archive': '$out/with_archive/captions.jsonl', 'method alone': '$out/evaluate_method/captions.jsonl'"
evaluate --output_dir "$out/evaluate" --also "{$also, 'concept reader alone': '$out/reader_alone/captions.jsonl'}"
step "done"
