# The web page in a container: docs/install.md says how it is built and started.
FROM python:3.11-slim-bookworm

# Where torch comes from: built for CPUs, or .../whl/cu130 for CUDA.
ARG TORCH=https://download.pytorch.org/whl/cpu

# What OpenCV is linked against.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /source
COPY requirements requirements
# torch alone: this layer is the largest, and stays as it is when the code changes.
RUN grep -E '^torch(vision)?==' requirements/lock.txt > torch.txt \
    && pip install --no-cache-dir --index-url "$TORCH" -r torch.txt

COPY LICENSE README.md model-index.yml pyproject.toml setup.py ./
COPY configs configs
COPY demo demo
COPY tools tools
COPY ovseg ovseg
# The versions that the tests run on, but for pillow: gradio asks for one below 13.
RUN grep -v '^pillow' requirements/lock.txt > locked.txt \
    && pip install --no-cache-dir --constraint locked.txt '.[app]'

# Weights that are fetched lie in .cache, which may be a volume.
RUN useradd --create-home ovseg && install -d -o ovseg -g ovseg /home/ovseg/.cache
USER ovseg
WORKDIR /home/ovseg

EXPOSE 7860
# As Ctrl-C: the page ends at once.
STOPSIGNAL SIGINT
CMD ["ovseg", "app", "--host", "0.0.0.0"]
