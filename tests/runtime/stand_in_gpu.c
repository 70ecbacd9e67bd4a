/* Stands in for NVIDIA's libcuda.so.1 and libnvidia-ml.so.1 on a machine without a GPU: one device, as its environment says.
   The signatures are those of "CUDA Driver API" and "NVML API Reference". */
#include <stdlib.h>
#include <string.h>

static int started;

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

int cuDriverGetVersion(int *version) { *version = 11040; return 0; }
int cuInit(unsigned int flags) { started = flags == 0; return number("STAND_IN_INIT", 0); }
int cuGetErrorName(int code, const char **name) { *name = code == 100 ? "CUDA_ERROR_NO_DEVICE" : NULL; return *name ? 0 : 1; }
int cuDeviceGetCount(int *count) { *count = 1; return started ? 0 : 3; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal + 7; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, device == 7 ? "Stand-in" : "?", length); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = device == 7 ? 80ULL << 30 : 0; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? 8 : attribute == 76 ? 6 : -device; return 0; }
int cuDevicePrimaryCtxGetState(int device, unsigned int *flags, int *active) {
    *flags = 0;
    *active = device == 7 && number("STAND_IN_ACTIVE", 0);
    return 0;
}

struct memory { unsigned long long total, free, used; };
struct rates { unsigned int gpu, memory; };

int nvmlInit_v2(void) { return number("STAND_IN_NVML", 0); }
const char *nvmlErrorString(int code) { return code == 18 ? "Driver/library version mismatch" : "Unknown"; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) { *device = (void *)0x123456789abcUL; return index; }
int nvmlSystemGetDriverVersion(char *text, unsigned int length) { strncpy(text, "470.82.01", length); return 0; }
int nvmlDeviceGetMemoryInfo(void *device, struct memory *memory) {
    memory->total = 80ULL << 30;
    memory->used = device == (void *)0x123456789abcUL ? 5ULL << 30 : 1;
    memory->free = memory->total - memory->used;
    return 0;
}
int nvmlDeviceGetUtilizationRates(void *device, struct rates *rates) { rates->gpu = 83; rates->memory = device ? 2 : 1; return 0; }
