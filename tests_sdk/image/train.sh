set -eu
test "$1" = train
grep -q '"factor":"3"' /opt/ml/input/config/hyperparameters.json
echo "sums of $(ls /opt/ml/input/data/train | wc -l) files"
awk '{ sum += 3 * $1 } END { print sum }' /opt/ml/input/data/train/* > /opt/ml/model/sum
