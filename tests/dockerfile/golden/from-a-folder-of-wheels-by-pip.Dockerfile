# Made by mdai-build 0.1.0 from its templates/; a change here is lost at the next build.
# Parent image: Google's parent.
FROM gcr.io/deeplearning-platform-release/base-cpu AS mdai-parent

# What the system must have.
FROM mdai-parent AS system
USER 0:0
# The C library waits 5 s for an answer of the name server, twice, and several downloads at once lose one now and then.
ARG RES_OPTIONS="timeout:1 attempts:10"
# The model's user is numeric; it gets a name too, since some libraries look one up.
RUN grep -q '^[^:]*:[^:]*:1000:' /etc/passwd || echo 'mdai:x:1000:1000:mdai:/tmp/mdai:/bin/sh' >> /etc/passwd
# The libraries that opencv-python loads; most parents have them.
RUN ldconfig -p | grep -q 'libGL\.so\.1 ' && ldconfig -p | grep -q 'libgthread-2\.0\.so\.0 ' || \
    if ! command -v apt-get > /dev/null; then echo "this parent has no libGL.so.1 and no apt: opencv-python will not load"; else \
    { apt() { DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 $archive -o Dir::Etc::sourceparts=$sources "$@"; } && \
      list=/etc/apt/sources.list all=/etc/apt/sources.list.d own=/tmp/mdai-apt/own archived=/tmp/mdai-apt/archived && mkdir -p $own $archived && \
      { cp $all/debian.sources $all/ubuntu.sources $own 2> /dev/null; cp $list $own/* $archived 2> /dev/null; \
      sed -i -E -e 's,//security\.debian\.org/?( |$),//security.debian.org/debian-security\1,' \
        -e 's,//(deb|security|httpredir|ftp|ftp\.[a-z]+)\.debian\.org/,//archive.debian.org/,' \
        -e 's,//(([a-z]+\.)?archive|security)\.ubuntu\.com/,//old-releases.ubuntu.com/,' $archived/* 2> /dev/null || true; } && \
      archive= && for sources in $all $own $archived; do \
        test $sources != $archived || archive="-o Dir::Etc::sourcelist=/dev/null -o Acquire::Check-Valid-Until=false -o Acquire::Retries=1"; \
        apt update; \
        apt install --yes --no-install-recommends libgl1 libglib2.0-0 && break; \
        apt install --yes --no-install-recommends libgl1-mesa-glx libglib2.0-0 && break; \
      done; } && \
    rm -rf /tmp/mdai-apt /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log; fi

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

# The model's conda environment, with the Python that base_image asks for, made by the fastest program that the parent has
# and that works. Channels that are named here are the only ones: one of the parent's own may ask for its terms of service.
FROM system AS environment
RUN for tool in micromamba mamba conda; do \
      "$tool" --version > /dev/null 2>&1 || continue; \
      tried="$tried $tool"; \
      case $tool in \
        *micromamba) export MAMBA_ROOT_PREFIX="${MAMBA_ROOT_PREFIX:-/tmp/mamba}" ;; \
        conda) ! "$(conda info --base)/bin/python" -c "import conda_libmamba_solver" 2> /dev/null || export CONDA_SOLVER=libmamba ;; \
      esac; \
      "$tool" create --yes --prefix /opt/conda/envs/mdai-env python=3.8 pip --override-channels --channel 'conda-forge' && \
      "$tool" clean --all --yes && made="$tool" && break; \
      rm -rf /opt/conda/envs/mdai-env; \
    done; \
    rm -rf /tmp/mamba; \
    test -n "$made" || { echo "no conda environment could be made; programs that are here: ${tried:-none of conda, mamba, micromamba}"; exit 1; }
ENV PATH=/opt/conda/envs/mdai-env/bin:$PATH CONDA_PREFIX=/opt/conda/envs/mdai-env CONDA_DEFAULT_ENV=mdai-env

# uv, which installs packages; it is mounted where it is needed and is not part of the image. It is a binary that runs
# beside any Python, though its package asks for a newer one than 3.7. Bytecode would hold the time, and differ whenever this
# step runs anew: so would all that mounts it. Why an index did not answer, pip tells its log alone.
FROM environment AS installer
ARG PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_DEFAULT_TIMEOUT=60
ARG PIP_NO_INDEX=1 PIP_FIND_LINKS=/run/mdai/wheels
RUN --mount=type=bind,from=mdai-wheels,target=/run/mdai/wheels \
    --mount=type=cache,id=mdai-pip-gcr-io-deeplearning-platform-release-base-cpu,target=/root/.cache/pip \
    --mount=type=bind,source=_mdai/pins,target=/pins \
    /opt/conda/envs/mdai-env/bin/python -m pip install --quiet --log /tmp/pip.log \
    --target /opt/uv --no-compile --no-deps --only-binary :all: --ignore-requires-python --requirement /pins/uv.txt || \
    { grep "Could not fetch URL" /tmp/pip.log; exit 1; }

# The server, and its own packages in a folder that the model's environment does not see.
FROM environment AS server
# Files are copied, since the cache is another file system. As with pip, all indexes count alike.
ARG UV_CACHE_DIR=/var/cache/uv UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_PYTHON_DOWNLOADS=never UV_BREAK_SYSTEM_PACKAGES=1
ARG UV_HTTP_TIMEOUT=60 UV_HTTP_RETRIES=5 UV_INDEX_STRATEGY=unsafe-best-match
ARG UV_FIND_LINKS=/run/mdai/wheels
RUN --mount=type=bind,from=mdai-wheels,target=/run/mdai/wheels \
    --mount=type=bind,from=installer,source=/opt/uv,target=/opt/uv \
    --mount=type=bind,source=_mdai/runtime/mdai_runtime/bytecode.py,target=/run/mdai/bytecode.py \
    --mount=type=cache,id=mdai-uv-gcr-io-deeplearning-platform-release-base-cpu-py38,target=/var/cache/uv \
    --mount=type=bind,source=_mdai/pins,target=/pins \
    /opt/uv/bin/uv pip install --python "$(command -v /opt/conda/envs/mdai-env/bin/python)" --no-index \
    --target /opt/mdai/packages --requirement /pins/server/py38.txt && \
    PYTHONHASHSEED=0 /opt/conda/envs/mdai-env/bin/python -S -s -B /run/mdai/bytecode.py /var/cache/uv /opt/mdai/packages
COPY _mdai/runtime/ /opt/mdai/runtime/
RUN /opt/conda/envs/mdai-env/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/mdai/runtime

# The preinstalled packages that the interface document promises.
FROM environment AS packages
ARG UV_CACHE_DIR=/var/cache/uv UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_PYTHON_DOWNLOADS=never UV_BREAK_SYSTEM_PACKAGES=1
ARG UV_HTTP_TIMEOUT=60 UV_HTTP_RETRIES=5 UV_INDEX_STRATEGY=unsafe-best-match
ARG UV_FIND_LINKS=/run/mdai/wheels
RUN --mount=type=bind,from=mdai-wheels,target=/run/mdai/wheels \
    --mount=type=bind,from=installer,source=/opt/uv,target=/opt/uv \
    --mount=type=bind,source=_mdai/runtime/mdai_runtime/bytecode.py,target=/run/mdai/bytecode.py \
    --mount=type=cache,id=mdai-uv-gcr-io-deeplearning-platform-release-base-cpu-py38,target=/var/cache/uv \
    --mount=type=bind,source=_mdai/pins,target=/pins \
    /opt/uv/bin/uv pip install --python "$(command -v /opt/conda/envs/mdai-env/bin/python)" --no-index \
    --requirement /pins/preinstalled/py38.txt && \
    PYTHONHASHSEED=0 /opt/conda/envs/mdai-env/bin/python -S -s -B /run/mdai/bytecode.py /var/cache/uv

# The model: its requirements, its weights, its code; then the server and what is set at run time.
# A copy for builds to write into.
FROM scratch AS requirements
COPY _mdai/requirements/ /


FROM packages AS model
USER 1000:1000
WORKDIR /src
USER 0:0
ARG PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_DEFAULT_TIMEOUT=60
ARG PIP_NO_INDEX=1 PIP_FIND_LINKS=/run/mdai/wheels
RUN --mount=type=bind,from=mdai-wheels,target=/run/mdai/wheels \
    --mount=type=bind,from=tools,source=/usr,target=/usr,rw \
    --mount=type=bind,from=requirements,target=/requirements,rw \
    cd /requirements && \
    CC=gcc CXX=g++ PIP_NO_CACHE_DIR=1 SOURCE_DATE_EPOCH=315532800 /opt/conda/envs/mdai-env/bin/python -m pip install --requirement _install.txt
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
