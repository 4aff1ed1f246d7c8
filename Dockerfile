# Cuelens for the demo and for files, without a camera or a display. It has not been built yet.
#   docker build -t cuelens . && docker run --rm cuelens
#   docker run --rm -v "$PWD:/films:ro" cuelens run --source file:/films/film.mp4
FROM python:3.13-slim AS build
WORKDIR /source
COPY . .
RUN python -m venv /cuelens \
 && /cuelens/bin/pip install --no-cache-dir --no-deps --require-hashes --only-binary=:all: -r deploy/locks/device.txt \
 && pip install --no-cache-dir --no-deps --require-hashes --only-binary=:all: -r deploy/locks/build.txt \
 && python -m hatchling build -t wheel:standard -d dist \
 && /cuelens/bin/pip install --no-cache-dir --no-deps --no-index dist/*.whl

FROM python:3.13-slim
COPY --from=build /cuelens /cuelens
RUN useradd --system --uid 1000 --create-home cuelens
USER cuelens
WORKDIR /home/cuelens
ENV PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["/cuelens/bin/cuelens"]
CMD ["demo"]
