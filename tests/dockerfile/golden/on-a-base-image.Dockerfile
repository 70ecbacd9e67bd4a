# Made by mdai-build 0.1.0 from its templates/; a change here is lost at the next build.
# A base image (`mdai-build base`): it was made from just what the stages up to the preinstalled packages would be made
# from here, and stands for each of them.
FROM registry.example/team/base:py38-cpu-0123456789ab AS mdai-base
# The C library waits 5 s for an answer of the name server, twice, and several downloads at once lose one now and then.
ARG RES_OPTIONS="timeout:1 attempts:10"
# For the install steps alone: the file is mounted while they run. ARG, unlike ENV, stays out of the image's environment.
ARG SSL_CERT_FILE=/run/mdai/ca-bundle.crt
ARG REQUESTS_CA_BUNDLE=/run/mdai/ca-bundle.crt PIP_CERT=/run/mdai/ca-bundle.crt GIT_SSL_CAINFO=/run/mdai/ca-bundle.crt CURL_CA_BUNDLE=/run/mdai/ca-bundle.crt
ARG UV_CACHE_DIR=/var/cache/uv UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_PYTHON_DOWNLOADS=never UV_BREAK_SYSTEM_PACKAGES=1
ARG UV_HTTP_TIMEOUT=60 UV_HTTP_RETRIES=5 UV_INDEX_STRATEGY=unsafe-best-match
FROM mdai-base AS system
FROM mdai-base AS environment

# Compilers and git, for packages that come as sources. The /usr of this stage is laid over the model's own while its
# requirements are installed, and no byte of it stays. A build without a network goes on: wheels need none of this.
FROM system AS tools
RUN --mount=type=secret,id=ca-bundle,target=/run/mdai/ca-bundle.crt,mode=0444 \
    missing= && for tool in gcc g++ make git; do command -v $tool > /dev/null || missing="$missing $tool"; done && \
    { test -z "$missing" || \
    { apt() { DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 -o Acquire::https::CAInfo=/run/mdai/ca-bundle.crt $archive -o Dir::Etc::sourceparts=$sources "$@"; } && \
      list=/etc/apt/sources.list all=/etc/apt/sources.list.d own=/tmp/mdai-apt/own archived=/tmp/mdai-apt/archived && mkdir -p $own $archived && \
      { cp $all/debian.sources $all/ubuntu.sources $own 2> /dev/null; cp $list $own/* $archived 2> /dev/null; \
      sed -i -E -e 's,//security\.debian\.org/?( |$),//security.debian.org/debian-security\1,' \
        -e 's,//(deb|security|httpredir|ftp|ftp\.[a-z]+)\.debian\.org/,//archive.debian.org/,' \
        -e 's,//(([a-z]+\.)?archive|security)\.ubuntu\.com/,//old-releases.ubuntu.com/,' $archived/* 2> /dev/null || true; } && \
      archive= && for sources in $all $own $archived; do \
        test $sources != $archived || archive="-o Dir::Etc::sourcelist=/dev/null -o Acquire::Check-Valid-Until=false -o Acquire::Retries=1"; \
        apt update; \
        apt install --yes --no-install-recommends $missing && break; \
      done; } || \
      echo "these could not be had:$missing; a requirement that needs them will not install"; }

# The server with its packages, and uv, made likewise.
FROM registry.example/team/base:py38-cpu-server-ba9876543210 AS server
FROM server AS installer

FROM mdai-base AS packages

# The model: its requirements, its weights, its code; then the server and what is set at run time.
# A copy for builds to write into.
FROM scratch AS requirements
COPY _mdai/requirements/ /


FROM packages AS model
USER 1000:1000
WORKDIR /src
USER 0:0
RUN --mount=type=secret,id=ca-bundle,target=/run/mdai/ca-bundle.crt,mode=0444 \
    --mount=type=bind,from=installer,source=/opt/uv,target=/opt/uv \
    --mount=type=bind,source=_mdai/runtime/mdai_runtime/bytecode.py,target=/run/mdai/bytecode.py \
    --mount=type=bind,from=tools,source=/usr,target=/usr,rw \
    --mount=type=bind,from=requirements,target=/requirements,rw \
    cd /requirements && \
    CC=gcc CXX=g++ UV_NO_CACHE=1 /opt/uv/bin/uv pip install --python "$(command -v /opt/conda/envs/mdai-env/bin/python)" --config-file _uv.toml --requirement _install.txt && \
    PYTHONHASHSEED=0 /opt/conda/envs/mdai-env/bin/python -S -s -B /run/mdai/bytecode.py /var/cache/uv
# What is installed, written down; made anew when that changes, not when code or weights do.
RUN --mount=type=bind,source=_mdai/runtime/mdai_runtime/sbom.py,target=/run/mdai/sbom.py \
    --mount=type=bind,from=server,source=/opt/mdai/packages,target=/run/mdai/server \
    --mount=type=bind,source=_mdai/pins,target=/pins \
    /opt/conda/envs/mdai-env/bin/python -I -B /run/mdai/sbom.py --server /run/mdai/server \
    --preinstalled /pins/preinstalled/py38.txt /opt/mdai/sbom.cdx.json
COPY --link --from=server /opt/mdai/ /opt/mdai/
COPY --link --chown=1000:1000 _mdai/code/ /src/lib/

ENV MDAI_PATH=.mdai MDAI_MODEL_ROOT=/src/lib PYTHONUNBUFFERED=1 HOME=/tmp/mdai/home XDG_CACHE_HOME=/tmp/mdai/cache \
    MPLCONFIGDIR=/tmp/mdai/matplotlib NUMBA_CACHE_DIR=/tmp/mdai/numba TORCH_HOME=/tmp/mdai/torch HF_HOME=/tmp/mdai/huggingface
LABEL org.opencontainers.image.title="lungs" \
      io.mdai-build.bundle.digest="sha256:00"

USER 1000:1000
EXPOSE 6324
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["/opt/conda/envs/mdai-env/bin/python", "-I", "-S", "/opt/mdai/runtime/mdai_runtime/healthcheck.py"]
ENTRYPOINT ["/opt/conda/envs/mdai-env/bin/python", "-I", "-S", "/opt/mdai/runtime/mdai_runtime/__main__.py"]
CMD []
