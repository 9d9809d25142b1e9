/* A stand-in for libnvidia-ml.so.1. FAKE_NVML says what it answers, in words separated by ';':
     gpu=NAME,UUID,GIB,USED_GIB,CAPABILITY   a card, for each word; the compute capability like 8.6
     mig=CARD,NAME,UUID,GIB                  a slice of a card, which is then in MIG mode
     driver=580.95.05   cuda=13000           the versions of the driver
     mode=CARD:MODE                          compute mode: 0 default, 2 prohibited, 3 exclusive to a process
     init=CODE  handle=CARD:CODE  mem=CODE  util=CODE    NVML's error in that place
     hang=init|handle|mem|util               never answers there; with hangfile=PATH only while that file exists
     proc=PID:GIB                            a program that computes on every card */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GIB 1073741824.0
#define MOST 16

typedef struct Device {
    char name[96], uuid[96];
    double memory, used;
    int major, minor, code, mode;
    struct Device *slices[MOST];
    int number_of_slices;
} Device;

static Device cards[MOST], slices[MOST];
static int number, number_of_slices, init_code, memory_code, use_code, cuda = 13000, parsed;
static unsigned pid;
static double pid_memory;
static char hang[32], hang_file[256], driver[64] = "580.95.05";

static void parse(void) {
    static char text[4096];
    char *rest = NULL;
    int card, code;
    if (parsed++ || !getenv("FAKE_NVML")) return;
    strncpy(text, getenv("FAKE_NVML"), sizeof text - 1);
    for (char *word = strtok_r(text, ";", &rest); word; word = strtok_r(NULL, ";", &rest)) {
        if (!strncmp(word, "gpu=", 4)) {
            Device *one = &cards[number++];
            sscanf(word + 4, "%95[^,],%95[^,],%lf,%lf,%d.%d", one->name, one->uuid, &one->memory, &one->used,
                   &one->major, &one->minor);
        } else if (!strncmp(word, "mig=", 4)) {
            Device *one = &slices[number_of_slices++];
            sscanf(word + 4, "%d,%95[^,],%95[^,],%lf", &card, one->name, one->uuid, &one->memory);
            cards[card].slices[cards[card].number_of_slices++] = one;
        } else if (sscanf(word, "mode=%d:%d", &card, &code) == 2) cards[card].mode = code;
        else if (sscanf(word, "handle=%d:%d", &card, &code) == 2) cards[card].code = code;
        else if (!strncmp(word, "driver=", 7)) strncpy(driver, word + 7, sizeof driver - 1);
        else if (!strncmp(word, "hang=", 5)) strncpy(hang, word + 5, sizeof hang - 1);
        else if (!strncmp(word, "hangfile=", 9)) strncpy(hang_file, word + 9, sizeof hang_file - 1);
        else if (sscanf(word, "cuda=%d", &code) == 1) cuda = code;
        else if (sscanf(word, "init=%d", &code) == 1) init_code = code;
        else if (sscanf(word, "mem=%d", &code) == 1) memory_code = code;
        else if (sscanf(word, "util=%d", &code) == 1) use_code = code;
        else sscanf(word, "proc=%u:%lf", &pid, &pid_memory);
    }
}

static void may_hang(const char *where) {
    parse();
    if (strcmp(hang, where)) return;
    while (!hang_file[0] || !access(hang_file, F_OK)) usleep(20000);
}

int nvmlInitWithFlags(unsigned flags) { may_hang("init"); return init_code; }
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return "an error of the stand-in"; }
int nvmlSystemGetDriverVersion(char *text, unsigned length) { strncpy(text, driver, length); return 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = cuda; return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { parse(); *count = number; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    may_hang("handle");
    if (index >= (unsigned)number) return 2;
    if (cards[index].code) return cards[index].code;
    *handle = &cards[index];
    return 0;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    parse();
    for (int i = 0; i < number; i++)
        if (!strcmp(uuid, cards[i].uuid)) { *handle = &cards[i]; return 0; }
    for (int i = 0; i < number_of_slices; i++)
        if (!strcmp(uuid, slices[i].uuid)) { *handle = &slices[i]; return 0; }
    return 6;
}
int nvmlDeviceGetUUID(void *device, char *text, unsigned length) {
    strncpy(text, ((Device *)device)->uuid, length);
    return 0;
}
int nvmlDeviceGetName(void *device, char *text, unsigned length) {
    strncpy(text, ((Device *)device)->name, length);
    return 0;
}
int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *total_free_used) {
    Device *one = device;
    may_hang("mem");
    if (memory_code) return memory_code;
    total_free_used[0] = one->memory * GIB;
    total_free_used[2] = one->used * GIB;
    total_free_used[1] = total_free_used[0] - total_free_used[2];
    return 0;
}
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
    *major = ((Device *)device)->major;
    *minor = ((Device *)device)->minor;
    return 0;
}
int nvmlDeviceGetComputeMode(void *device, int *mode) { *mode = ((Device *)device)->mode; return 0; }
int nvmlDeviceGetPersistenceMode(void *device, int *mode) { *mode = 0; return 0; }
int nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending) {
    *current = *pending = ((Device *)device)->number_of_slices > 0;
    return 0;
}
int nvmlDeviceGetMaxMigDeviceCount(void *device, unsigned *count) { *count = 7; return 0; }
int nvmlDeviceGetMigDeviceHandleByIndex(void *device, unsigned index, void **handle) {
    if (index >= (unsigned)((Device *)device)->number_of_slices) return 6;
    *handle = ((Device *)device)->slices[index];
    return 0;
}
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius) { *celsius = 50; return 0; }
int nvmlDeviceGetUtilizationRates(void *device, unsigned *gpu_and_memory) {
    may_hang("util");
    gpu_and_memory[0] = gpu_and_memory[1] = 0;
    return use_code;
}
int nvmlDeviceGetProcessUtilization(void *device, void *samples, unsigned *count, unsigned long long since) {
    may_hang("util");
    return use_code ? use_code : 6;
}
typedef struct { unsigned pid; unsigned long long memory; unsigned gpu_instance, compute_instance; } Program;
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, Program *programs) {
    unsigned room = *count;
    *count = pid != 0;
    if (!pid) return 0;
    if (!room) return 7;
    programs[0] = (Program){pid, pid_memory * GIB, 0xffffffff, 0xffffffff};
    return 0;
}
