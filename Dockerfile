# The service with the packages of requirements.lock; the bundle is mounted, or copied beside.
#   docker build -t mooc-maml --build-arg PIP_EXTRA_INDEX_URL=... .
#   docker run --rm -p 127.0.0.1:8000:8000 -e MOOC_MAML_KEY=... -v "$PWD/models/bundle:/bundle:ro" mooc-maml
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY src src
# The index of PyTorch's wheels without CUDA, which the service never uses: they are ten times smaller.
ARG PIP_EXTRA_INDEX_URL
# Of the lock's packages only what the service needs is installed.
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --constraint requirements.lock ".[serve]"

FROM python:3.11-slim
COPY --from=build /venv /venv
RUN useradd --system --no-create-home service
USER service
EXPOSE 8000
HEALTHCHECK CMD ["/venv/bin/python", "-c", \
  "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=3)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/venv/bin/mooc-maml", "serve", "--bundle", "/bundle", "--host", "0.0.0.0"]
