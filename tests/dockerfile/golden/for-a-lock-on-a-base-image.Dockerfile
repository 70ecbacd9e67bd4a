# Made by mdai-build 0.1.0 from its templates/; a change here is lost at the next build.
# A base image (`mdai-build base`): it was made from just what the stages up to the preinstalled packages would be made
# from here, and stands for each of them.
FROM registry.example/team/base:py38-cpu-0123456789ab AS mdai-base
# The C library waits 5 s for an answer of the name server, twice, and several downloads at once lose one now and then.
ARG RES_OPTIONS="timeout:1 attempts:10"
ARG UV_CACHE_DIR=/var/cache/uv UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_PYTHON_DOWNLOADS=never UV_BREAK_SYSTEM_PACKAGES=1
ARG UV_HTTP_TIMEOUT=60 UV_HTTP_RETRIES=5 UV_INDEX_STRATEGY=unsafe-best-match
FROM mdai-base AS system
FROM mdai-base AS environment

# The server with its packages, and uv, made likewise.
FROM registry.example/team/base:py38-cpu-server-ba9876543210 AS server
FROM server AS installer

FROM mdai-base AS packages

# Compilers and git, for packages that come as sources. The /usr of this stage is laid over the model's own while its
# requirements are installed, and no byte of it stays. A build without a network goes on: wheels need none of this.
FROM system AS tools
RUN missing= && for tool in gcc g++ make git; do command -v $tool > /dev/null || missing="$missing $tool"; done && \
    { test -z "$missing" || \
    { apt() { DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 $archive -o Dir::Etc::sourceparts=$sources "$@"; } && \
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

# Every package that the requirements come down to, found here since some have to be built to know what they need.
FROM packages AS resolve
RUN --mount=type=bind,from=installer,source=/opt/uv,target=/opt/uv \
    --mount=type=bind,source=_mdai/runtime/mdai_runtime/bytecode.py,target=/run/mdai/bytecode.py \
    --mount=type=bind,from=tools,source=/usr,target=/usr,rw \
    --mount=type=bind,source=_mdai/requirements,target=/requirements,rw \
    mkdir /lock && cd /requirements && cp _preferences.txt /lock/requirements.lock && \
    CC=gcc CXX=g++ UV_NO_CACHE=1 \
    /opt/uv/bin/uv pip compile --config-file _uv.toml --python "$(command -v /opt/conda/envs/mdai-env/bin/python)" --output-file /lock/requirements.lock '--generate-hashes' _install.txt

FROM scratch AS lock
COPY --from=resolve /lock/ /
