# Made by mdai-build 0.1.0 from its templates/; a change here is lost at the next build.
# The author's own .mdai/Dockerfile.
FROM debian:12 AS mdai-parent
RUN apt-get update


# What the system must have.
FROM mdai-parent AS system
USER 0:0
SHELL ["/bin/sh", "-c"]
# The C library waits 5 s for an answer of the name server, twice, and several downloads at once lose one now and then.
ARG RES_OPTIONS="timeout:1 attempts:10"
# The model's user is numeric; it gets a name too, since some libraries look one up.
RUN grep -q '^[^:]*:[^:]*:1000:' /etc/passwd || echo 'mdai:x:1000:1000:mdai:/tmp/mdai:/bin/sh' >> /etc/passwd
# A parent that has these folders for itself may keep others out, may be an image of ours, and may lack the folders that
# installers work in.
RUN rm -rf /opt/mdai; for folder in /src /src/lib /workspace; do if test -d $folder; then chmod a+rx $folder; else rm -f $folder; fi; done; \
    for folder in /tmp "${TMPDIR:-/tmp}"; do test -d "$folder" || { mkdir -p "$folder" && chmod 1777 "$folder"; }; done

# No conda environment here: packages go into the parent's own Python. It may lie in a folder that nobody but root may
# enter, such as /root/.pyenv: the model's user is let through, and does not see what else is there.
FROM system AS environment
RUN python3 -c 'import sys, sysconfig; host = str(sysconfig.get_config_var("HOST_GNU_TYPE")); sys.exit("this is Python " + sys.version if not (3, 7) <= sys.version_info[:2] <= (3, 13) else "the C library of this Python: " + host if "musl" in host else None)' && \
    python3 -m pip --version && \
    python3 -c 'import sys; from pathlib import Path; own = {Path(path) for path in (sys.executable, sys.prefix, sys.base_prefix)}; ways = {way for path in own | {path.resolve() for path in own} for way in (path, *path.parents)}; [way.chmod(way.stat().st_mode | 0o111) for way in ways if not way.stat().st_mode & 1]'

# uv, which installs packages; it is mounted where it is needed and is not part of the image. It is a binary that runs
# beside any Python, though its package asks for a newer one than 3.7. Bytecode would hold the time, and differ whenever this
# step runs anew: so would all that mounts it. Why an index did not answer, pip tells its log alone.
FROM environment AS installer
ARG PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_DEFAULT_TIMEOUT=60 PIP_BREAK_SYSTEM_PACKAGES=1
RUN --mount=type=bind,source=_mdai/pins,target=/pins \
    PIP_NO_CACHE_DIR=1 python3 -m pip install --quiet --log /tmp/pip.log \
    --target /opt/uv --no-compile --no-deps --only-binary :all: --ignore-requires-python --requirement /pins/uv.txt || \
    { grep "Could not fetch URL" /tmp/pip.log; exit 1; }

# The server, and its own packages in a folder that the model's environment does not see.
FROM environment AS server
# Files are copied, since the cache is another file system. As with pip, all indexes count alike.
ARG UV_CACHE_DIR=/var/cache/uv UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_PYTHON_DOWNLOADS=never UV_BREAK_SYSTEM_PACKAGES=1
ARG UV_HTTP_TIMEOUT=60 UV_HTTP_RETRIES=5 UV_INDEX_STRATEGY=unsafe-best-match
RUN --mount=type=bind,from=installer,source=/opt/uv,target=/opt/uv \
    --mount=type=bind,source=_mdai/runtime/mdai_runtime/bytecode.py,target=/run/mdai/bytecode.py \
    --mount=type=bind,source=_mdai/pins,target=/pins \
    UV_NO_CACHE=1 /opt/uv/bin/uv pip install --python "$(command -v python3)" \
    --target /opt/mdai/packages --requirement "/pins/server/$(python3 -c 'import sys; print("py%d%d" % sys.version_info[:2])').txt" && \
    PYTHONHASHSEED=0 python3 -s -B /run/mdai/bytecode.py /var/cache/uv /opt/mdai/packages
COPY _mdai/runtime/ /opt/mdai/runtime/
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/mdai/runtime

# Requirements that come by git, built to wheels here, so that neither git nor a key is needed in the image. This
# parent's Python may lie in /usr, so that no other /usr can be laid over it while it installs.
FROM environment AS wheels
ARG PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_DEFAULT_TIMEOUT=60 PIP_BREAK_SYSTEM_PACKAGES=1
RUN command -v git > /dev/null || \
    { apt() { DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 $archive -o Dir::Etc::sourceparts=$sources "$@"; } && \
      list=/etc/apt/sources.list all=/etc/apt/sources.list.d own=/tmp/mdai-apt/own archived=/tmp/mdai-apt/archived && mkdir -p $own $archived && \
      { cp $all/debian.sources $all/ubuntu.sources $own 2> /dev/null; cp $list $own/* $archived 2> /dev/null; \
      sed -i -E -e 's,//security\.debian\.org/?( |$),//security.debian.org/debian-security\1,' \
        -e 's,//(deb|security|httpredir|ftp|ftp\.[a-z]+)\.debian\.org/,//archive.debian.org/,' \
        -e 's,//(([a-z]+\.)?archive|security)\.ubuntu\.com/,//old-releases.ubuntu.com/,' $archived/* 2> /dev/null || true; } && \
      archive= && for sources in $all $own $archived; do \
        test $sources != $archived || archive="-o Dir::Etc::sourcelist=/dev/null -o Acquire::Check-Valid-Until=false -o Acquire::Retries=1"; \
        apt update; \
        apt install --yes --no-install-recommends git && break; \
      done; }
RUN command -v gcc > /dev/null || \
    { apt() { DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 $archive -o Dir::Etc::sourceparts=$sources "$@"; } && \
      list=/etc/apt/sources.list all=/etc/apt/sources.list.d own=/tmp/mdai-apt/own archived=/tmp/mdai-apt/archived && mkdir -p $own $archived && \
      { cp $all/debian.sources $all/ubuntu.sources $own 2> /dev/null; cp $list $own/* $archived 2> /dev/null; \
      sed -i -E -e 's,//security\.debian\.org/?( |$),//security.debian.org/debian-security\1,' \
        -e 's,//(deb|security|httpredir|ftp|ftp\.[a-z]+)\.debian\.org/,//archive.debian.org/,' \
        -e 's,//(([a-z]+\.)?archive|security)\.ubuntu\.com/,//old-releases.ubuntu.com/,' $archived/* 2> /dev/null || true; } && \
      archive= && for sources in $all $own $archived; do \
        test $sources != $archived || archive="-o Dir::Etc::sourcelist=/dev/null -o Acquire::Check-Valid-Until=false -o Acquire::Retries=1"; \
        apt update; \
        apt install --yes --no-install-recommends gcc g++ make && break; \
      done; } || \
    echo "no compiler could be had; a git requirement that needs one will not build"
RUN --mount=type=bind,source=_mdai/requirements,target=/requirements \
    cd /requirements && \
    PIP_NO_CACHE_DIR=1 python3 -m pip wheel --no-deps --wheel-dir /wheels --requirement _vcs.txt

# The preinstalled packages that the interface document promises.
FROM environment AS packages
ARG UV_CACHE_DIR=/var/cache/uv UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_PYTHON_DOWNLOADS=never UV_BREAK_SYSTEM_PACKAGES=1
ARG UV_HTTP_TIMEOUT=60 UV_HTTP_RETRIES=5 UV_INDEX_STRATEGY=unsafe-best-match
RUN --mount=type=bind,from=installer,source=/opt/uv,target=/opt/uv \
    --mount=type=bind,source=_mdai/runtime/mdai_runtime/bytecode.py,target=/run/mdai/bytecode.py \
    --mount=type=bind,source=_mdai/pins,target=/pins \
    UV_NO_CACHE=1 /opt/uv/bin/uv pip install --python "$(command -v python3)" \
    --requirement "/pins/preinstalled/$(python3 -c 'import sys; print("py%d%d" % sys.version_info[:2])').txt" && \
    PYTHONHASHSEED=0 python3 -s -B /run/mdai/bytecode.py /var/cache/uv

# The model: its requirements, its weights, its code; then the server and what is set at run time.
# A copy for builds to write into.
FROM scratch AS requirements
COPY _mdai/requirements/ /


FROM packages AS model
USER 1000:1000
WORKDIR /src
USER 0:0
RUN --mount=type=bind,from=installer,source=/opt/uv,target=/opt/uv \
    --mount=type=bind,source=_mdai/runtime/mdai_runtime/bytecode.py,target=/run/mdai/bytecode.py \
    --mount=type=bind,from=requirements,target=/requirements,rw \
    --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    cd /requirements && \
    UV_NO_CACHE=1 /opt/uv/bin/uv pip install --python "$(command -v python3)" --config-file _uv.toml --requirement _install.txt /wheels/*.whl && \
    PYTHONHASHSEED=0 python3 -s -B /run/mdai/bytecode.py /var/cache/uv
# What is installed, written down; made anew when that changes, not when code or weights do.
RUN --mount=type=bind,source=_mdai/runtime/mdai_runtime/sbom.py,target=/run/mdai/sbom.py \
    --mount=type=bind,from=server,source=/opt/mdai/packages,target=/run/mdai/server \
    --mount=type=bind,source=_mdai/pins,target=/pins \
    python3 -I -B /run/mdai/sbom.py --server /run/mdai/server \
    --preinstalled "/pins/preinstalled/$(python3 -c 'import sys; print("py%d%d" % sys.version_info[:2])').txt" /opt/mdai/sbom.cdx.json
COPY --link --from=server /opt/mdai/ /opt/mdai/
COPY --link --chown=1000:1000 _mdai/code/ /src/lib/

ENV MDAI_PATH=.mdai MDAI_MODEL_ROOT=/src/lib PYTHONUNBUFFERED=1 HOME=/tmp/mdai/home XDG_CACHE_HOME=/tmp/mdai/cache \
    MPLCONFIGDIR=/tmp/mdai/matplotlib NUMBA_CACHE_DIR=/tmp/mdai/numba TORCH_HOME=/tmp/mdai/torch HF_HOME=/tmp/mdai/huggingface
LABEL org.opencontainers.image.title="lungs" \
      io.mdai-build.bundle.digest="sha256:00"

USER 1000:1000
EXPOSE 6324
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["python3", "-I", "-S", "/opt/mdai/runtime/mdai_runtime/healthcheck.py"]
ENTRYPOINT ["python3", "-I", "-S", "/opt/mdai/runtime/mdai_runtime/__main__.py"]
CMD []
