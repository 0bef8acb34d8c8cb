# The workflow and its packages. PyTorch's default build computes on CUDA GPUs and on CPUs; for a
# smaller image without CUDA, name PyTorch's index of CPU builds:
#   docker build --build-arg PIP_EXTRA_INDEX_URL=ADDRESS --tag charlm .
#   docker run --rm --volume "$PWD:/work" [--gpus all] charlm --cores all --configfile my.yaml
FROM python:3.12-slim

ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_NO_CACHE_DIR=1

COPY . /charlm
RUN pip install --constraint /charlm/requirements.lock "/charlm[workflow]"

# Compiled kernels and Snakemake's caches go below the home of whoever runs the container.
ENV HOME=/tmp
WORKDIR /work
ENTRYPOINT ["snakemake", "--snakefile", "/charlm/workflow/Snakefile"]
CMD ["--cores", "all"]
