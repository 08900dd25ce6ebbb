# docker build --tag gamespotter .                                 the bot, which is the last stage
# docker build --tag gamespotter-training --target training .      what retrains the network, with TensorFlow
#
# compose.yaml builds and runs both; docs/operation.md tells how.

ARG PYTHON_VERSION=3.13


# The bot in an environment of its own, with all that it stands on in the versions of requirements.lock. It begins with the
# larger image for its `strip`, and for what a machine needs for which a package has no wheel.
FROM python:${PYTHON_VERSION} AS packed
# docker build --build-arg EXTRAS=workers: for a crawl on several machines.
ARG EXTRAS=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY pyproject.toml requirements.lock ./
# Before the sources, so that wheels are fetched anew only when the list of them changes.
RUN python -c 'import sys, tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; print(*p["dependencies"], *(d for e in sys.argv[1:] for d in p["optional-dependencies"][e]), sep="\n")' ${EXTRAS} > dependencies.txt \
 && python -m pip wheel --wheel-dir /wheels --constraint requirements.lock --requirement dependencies.txt
COPY README.md ./
COPY bot bot
COPY core core
COPY demo demo
COPY training training
COPY models/starter models/starter
RUN python -m pip wheel --wheel-dir /wheels --no-deps .
# Without pip: nobody installs anything into a container that runs.
RUN python -m venv --without-pip /opt/gamespotter \
 && python -m pip --python /opt/gamespotter/bin/python install --no-index --find-links /wheels "gamespotter[${EXTRAS}]"


# A fifth of that is never read: symbols for debuggers, the packages' own tests, what LiteRT has for telephones and
# graphics cards, names of countries in all languages, how numbers are written in languages that the bot does not speak.
FROM packed AS bot-packed
WORKDIR /opt/gamespotter
RUN rm --recursive lib/python*/site-packages/ai_edge_litert/aot \
        lib/python*/site-packages/ai_edge_litert/libLiteRtWebGpuAccelerator.so \
        lib/python*/site-packages/ai_edge_litert/tools \
        lib/python*/site-packages/ai_edge_litert/vendors \
        lib/python*/site-packages/pycountry/locales \
 && find lib/python*/site-packages/babel/locale-data -name '*.dat' ! -name root.dat ! -name 'de*' ! -name 'en*' -delete \
 && find lib -type d -name tests -prune -exec rm --recursive {} + \
 && find lib -type f '(' -name '*.so' -o -name '*.so.*' ')' -exec strip --strip-unneeded {} +
# Loads every native library and runs the network: an image that cannot is not made.
RUN bin/gamespotter doctor --offline


FROM packed AS training-packed
RUN python -m pip --python /opt/gamespotter/bin/python install --find-links /wheels --constraint requirements.lock \
        "gamespotter[training]"


# What both images that run have in common: a user who owns nothing but the folders that volumes are mounted on.
FROM python:${PYTHON_VERSION}-slim AS base
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin gamespotter \
 && install --directory --owner gamespotter --group gamespotter /data /models /training \
 && install --directory /etc/gamespotter /run/secrets
ENV PATH=/opt/gamespotter/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001


FROM base AS training
LABEL org.opencontainers.image.title="GameSpotter training" \
      org.opencontainers.image.description="Retrains the network that tells which game a live stream is really showing."
COPY --from=training-packed /opt/gamespotter /opt/gamespotter
WORKDIR /training
VOLUME ["/models", "/training"]
ENTRYPOINT ["python", "-m", "training"]
CMD ["--help"]


FROM base AS bot
LABEL org.opencontainers.image.title="GameSpotter" \
      org.opencontainers.image.description="Tells which game a live stream is really showing."
COPY --from=bot-packed /opt/gamespotter /opt/gamespotter
# bot.toml is read from here, if it is mounted; what stands in the environment wins over it.
WORKDIR /etc/gamespotter
# hadolint ignore=DL3064
ENV GAMESPOTTER_DATA__DIRECTORY=/data \
    GAMESPOTTER_MODEL__REGISTRY=/models \
    GAMESPOTTER_SECRETS=/run/secrets \
    GAMESPOTTER_LOG__FORMAT=json \
    GAMESPOTTER_WEB__ENABLED=true
VOLUME ["/data", "/models"]
# Every look costs a second of the processor, most of it for starting Python.
HEALTHCHECK --interval=60s --timeout=20s --start-period=90s --start-interval=5s --retries=3 CMD ["gamespotter", "health", "--timeout", "10"]
# The bot answers what it has taken, and is gone within ten seconds.
STOPSIGNAL SIGTERM
ENTRYPOINT ["gamespotter"]
CMD ["run"]
