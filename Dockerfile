# AutoKD with what a search on many machines needs: Dask, PostgreSQL, the data of the recipes, and a compiler for its
# kernels. compose.yaml puts it together.
FROM python:3.11-slim

# torch without CUDA; with it: docker build --build-arg TORCH=https://pypi.org/simple .
ARG TORCH=https://download.pytorch.org/whl/cpu

RUN apt-get update -qq \
    && apt-get install -qq -y --no-install-recommends dataset-fashion-mnist gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/autokd
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY autokd autokd
COPY search_spaces search_spaces
COPY workers workers
RUN pip install --no-cache-dir --extra-index-url "$TORCH" --constraint constraints.txt '.[dask,digits,images,plot,postgresql]'

# The folder of searches belongs to the user, also as a volume.
RUN useradd --create-home autokd && install -d -o autokd /runs
USER autokd
WORKDIR /home/autokd
ENV AUTOKD_HOME=/runs OMP_NUM_THREADS=1
CMD ["autokd", "--help"]
