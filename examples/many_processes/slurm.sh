#!/bin/bash
# sbatch examples/many_processes/slurm.sh: a process for each GPU. JAX learns from SLURM who takes part.
#SBATCH --nodes=4 --ntasks-per-node=8 --gpus-per-node=8 --time=01:00:00
srun python examples/many_processes/train.py --cluster --layout zero1
