/* A stand-in for libcuda.so.1: a driver that starts or does not, and tells its version and one card's capability.
     FAKE_CUDA_INIT=803          what cuInit returns; "hang": it never does
     FAKE_CUDA_DRIVER=12040      the newest CUDA that the driver knows
     FAKE_CUDA_CAPABILITY=86     of the card; GPU-1080=61: only while CUDA_VISIBLE_DEVICES is that, else 8.6
     FAKE_CUDA_MAPS_MEMORY=0     whether the card has what torch's expandable segments take */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int number(const char *name, int otherwise) {
    const char *value = getenv(name);
    return value ? atoi(value) : otherwise;
}

int cuInit(unsigned flags) {
    const char *value = getenv("FAKE_CUDA_INIT");
    while (value && !strcmp(value, "hang")) usleep(20000);
    return number("FAKE_CUDA_INIT", 0);
}
int cuDriverGetVersion(int *version) { *version = number("FAKE_CUDA_DRIVER", 13000); return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    const char *words = getenv("FAKE_CUDA_CAPABILITY"), *visible = getenv("CUDA_VISIBLE_DEVICES");
    const char *sign = words ? strchr(words, '=') : NULL;
    int capability = number("FAKE_CUDA_CAPABILITY", 86);
    if (sign) {
        size_t length = sign - words;
        int is_it = visible && strlen(visible) == length && !strncmp(words, visible, length);
        capability = is_it ? atoi(sign + 1) : 86;
    }
    if (attribute == 102) { /* virtual memory management */
        *value = number("FAKE_CUDA_MAPS_MEMORY", 1);
        return 0;
    }
    *value = attribute == 75 ? capability / 10 : capability % 10; /* 75: the major number, 76: the minor */
    return 0;
}
