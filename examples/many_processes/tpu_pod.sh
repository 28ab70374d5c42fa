#!/bin/bash
# TPU=name ZONE=zone examples/many_processes/tpu_pod.sh: a process on each host; this repository lies there in ~/gradx.
gcloud compute tpus tpu-vm ssh "$TPU" --zone "$ZONE" --worker=all \
  --command "cd gradx && python examples/many_processes/train.py --cluster --layout fsdp"
