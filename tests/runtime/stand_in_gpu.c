/* Stands in for NVIDIA's libcuda.so.1 and libnvidia-ml.so.1 on a machine without a GPU.
   The signatures are those of "CUDA Driver API" and "NVML API Reference". What the machine is, is set when it is compiled
   (-DCUDA=12040); each of its devices is an empty file /dev/nvidiaN, and where there is none it still has one. What is
   taken of the memory of all devices stands in a file, so that the management library of one process sees what another
   takes. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef CUDA
#define CUDA 11040
#endif
#ifndef DRIVER
#define DRIVER "470.82.01"
#endif
#ifndef MAJOR
#define MAJOR 8
#endif
#ifndef MINOR
#define MINOR 6
#endif
#define MOST 16
#define TAKEN "/tmp/stand-in-gpu-taken"
#define IDLE_BYTES (5ULL << 30)

static int started, active;

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

static int devices(void) {
    int count = 0;
    char name[32];
    for (int each = 0; each < MOST; each++) {
        snprintf(name, sizeof name, "/dev/nvidia%d", each);
        count += access(name, F_OK) == 0;
    }
    return count ? count : 1;
}

static unsigned long long taken(void) {
    unsigned long long bytes = 0;
    int file = open(TAKEN, O_RDONLY);
    if (file >= 0) {
        if (read(file, &bytes, sizeof bytes) != sizeof bytes) bytes = 0;
        close(file);
    }
    return bytes;
}

int cuDriverGetVersion(int *version) { *version = CUDA; return 0; }
int cuInit(unsigned int flags) {
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    started = flags == 0;
    return number("STAND_IN_INIT", visible && (!*visible || !strcmp(visible, "-1")) ? 100 : 0);
}
int cuGetErrorName(int code, const char **name) { *name = code == 100 ? "CUDA_ERROR_NO_DEVICE" : NULL; return *name ? 0 : 1; }
int cuDeviceGetCount(int *count) { *count = devices(); return started ? 0 : 3; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal + 7; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, device >= 7 ? "Stand-in" : "?", length); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = device >= 7 ? 80ULL << 30 : 0; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? MAJOR : attribute == 76 ? MINOR : -device; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = &active; active = device == 7; return 0; }
int cuDevicePrimaryCtxGetState(int device, unsigned int *flags, int *is_active) {
    *flags = 0;
    *is_active = device == 7 && active;
    return 0;
}
int cuMemAlloc_v2(unsigned long long *place, size_t size) {
    unsigned long long bytes = taken() + size;
    int file = open(TAKEN, O_WRONLY | O_CREAT, 0666);
    int written = file >= 0 && write(file, &bytes, sizeof bytes) == sizeof bytes;
    if (file >= 0) close(file);
    *place = 0x1000;
    return written ? 0 : 2;
}

struct memory { unsigned long long total, free, used; };
struct rates { unsigned int gpu, memory; };

int nvmlInit_v2(void) { return number("STAND_IN_NVML", 0); }
const char *nvmlErrorString(int code) { return code == 18 ? "Driver/library version mismatch" : "Unknown"; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) { *device = (void *)0x123456789abcUL; return index; }
int nvmlSystemGetDriverVersion(char *text, unsigned int length) { strncpy(text, DRIVER, length); return 0; }
int nvmlDeviceGetMemoryInfo(void *device, struct memory *memory) {
    memory->total = 80ULL << 30;
    memory->used = device == (void *)0x123456789abcUL ? IDLE_BYTES + taken() : 1;
    memory->free = memory->total - memory->used;
    return 0;
}
int nvmlDeviceGetUtilizationRates(void *device, struct rates *rates) { rates->gpu = 83; rates->memory = device ? 2 : 1; return 0; }
