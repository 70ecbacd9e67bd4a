# The local parent for GPUs: the other one, with the variables by which NVIDIA's container toolkit hands devices and the
# driver's libraries to a container, as NVIDIA's own images set them. It has no CUDA.
ARG PARENT
FROM ${PARENT}
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64
