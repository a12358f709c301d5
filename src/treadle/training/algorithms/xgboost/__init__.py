"""The built-in XGBoost: gradient-boosted trees under the training container's contract, `… xgboost train`.

It stands in for AWS's `sagemaker-xgboost` images in algorithm mode (aws/sagemaker-xgboost-container): the same
hyperparameters, channels, content types and refusals, the same lines in the log (`[0]<tab>train-rmse:0.10000`),
whichever version of XGBoost is installed. What differs:

* The metrics that AWS adds to XGBoost's own are computed of probabilities and predictions, not of raw margins, and on
  several hosts of all rows together instead of as the mean of the hosts' values.
* In cross validation each fold is measured on its own rows, and it runs on one host.
* Checkpoints are `xgboost-checkpoint.<round>`, of which the last five stay: so they are in the container's
  checkpointing.py, while its newest versions write other names than they look for.
* GPUs are used by `tree_method=gpu_hist` where the installed XGBoost can; training with Dask is refused.
"""
