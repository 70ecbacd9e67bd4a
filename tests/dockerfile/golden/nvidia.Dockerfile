# Made by mdai-build 0.1.0 from its templates/; a change here is lost at the next build.
# Parent image: NVIDIA's Clara Train SDK.
FROM nvcr.io/nvidia/clara-train-sdk:v4.1 AS mdai-parent

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
RUN --mount=type=cache,id=mdai-pip-nvcr-io-nvidia-clara-train-sdk-v4-1,target=/root/.cache/pip \
    --mount=type=bind,source=_mdai/pins,target=/pins \
    python3 -m pip install --quiet --log /tmp/pip.log \
    --target /opt/uv --no-compile --no-deps --only-binary :all: --ignore-requires-python --requirement /pins/uv.txt || \
    { grep "Could not fetch URL" /tmp/pip.log; exit 1; }

# The server, and its own packages in a folder that the model's environment does not see.
FROM environment AS server
# Files are copied, since the cache is another file system. As with pip, all indexes count alike.
ARG UV_CACHE_DIR=/var/cache/uv UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_PYTHON_DOWNLOADS=never UV_BREAK_SYSTEM_PACKAGES=1
ARG UV_HTTP_TIMEOUT=60 UV_HTTP_RETRIES=5 UV_INDEX_STRATEGY=unsafe-best-match
RUN --mount=type=bind,from=installer,source=/opt/uv,target=/opt/uv \
    --mount=type=bind,source=_mdai/runtime/mdai_runtime/bytecode.py,target=/run/mdai/bytecode.py \
    --mount=type=cache,id=mdai-uv-nvcr-io-nvidia-clara-train-sdk-v4-1,target=/var/cache/uv \
    --mount=type=bind,source=_mdai/pins,target=/pins \
    /opt/uv/bin/uv pip install --python "$(command -v python3)" \
    --target /opt/mdai/packages --requirement "/pins/server/$(python3 -c 'import sys; print("py%d%d" % sys.version_info[:2])').txt" && \
    PYTHONHASHSEED=0 python3 -s -B /run/mdai/bytecode.py /var/cache/uv /opt/mdai/packages
COPY _mdai/runtime/ /opt/mdai/runtime/
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/mdai/runtime

# The preinstalled packages that the interface document promises.
FROM environment AS packages
ARG UV_CACHE_DIR=/var/cache/uv UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_PYTHON_DOWNLOADS=never UV_BREAK_SYSTEM_PACKAGES=1
ARG UV_HTTP_TIMEOUT=60 UV_HTTP_RETRIES=5 UV_INDEX_STRATEGY=unsafe-best-match
RUN --mount=type=bind,from=installer,source=/opt/uv,target=/opt/uv \
    --mount=type=bind,source=_mdai/runtime/mdai_runtime/bytecode.py,target=/run/mdai/bytecode.py \
    --mount=type=cache,id=mdai-uv-nvcr-io-nvidia-clara-train-sdk-v4-1,target=/var/cache/uv \
    --mount=type=bind,source=_mdai/pins,target=/pins \
    /opt/uv/bin/uv pip install --python "$(command -v python3)" \
    --requirement "/pins/preinstalled/$(python3 -c 'import sys; print("py%d%d" % sys.version_info[:2])').txt" && \
    PYTHONHASHSEED=0 python3 -s -B /run/mdai/bytecode.py /var/cache/uv

# The model: its requirements, its weights, its code; then the server and what is set at run time.
FROM packages AS model
USER 1000:1000
WORKDIR /src
USER 0:0
# What is installed, written down; made anew when that changes, not when code or weights do.
RUN --mount=type=bind,source=_mdai/runtime/mdai_runtime/sbom.py,target=/run/mdai/sbom.py \
    --mount=type=bind,from=server,source=/opt/mdai/packages,target=/run/mdai/server \
    --mount=type=bind,source=_mdai/pins,target=/pins \
    python3 -I -B /run/mdai/sbom.py --server /run/mdai/server \
    --preinstalled "/pins/preinstalled/$(python3 -c 'import sys; print("py%d%d" % sys.version_info[:2])').txt" /opt/mdai/sbom.cdx.json
COPY --link --chown=1000:1000 _mdai/workspace/ /workspace/
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
