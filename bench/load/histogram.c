#include "histogram.h"

static int slot_of(uint64_t value) {
    if (value < STEPS) return (int)value;
    int shift = 63 - __builtin_clzll(value) - 6; /* 2^6 steps */
    int slot = (shift + 1) * STEPS + (int)((value >> shift) - STEPS);
    return slot < DOUBLINGS * STEPS ? slot : DOUBLINGS * STEPS - 1;
}

static double value_of(int slot) {
    if (slot < STEPS) return slot;
    int shift = slot / STEPS - 1;
    return (double)((uint64_t)(slot % STEPS + STEPS + 1) << shift);
}

void histogram_note(Histogram *histogram, int64_t ns) {
    uint64_t value = ns > 0 ? (uint64_t)ns : 0;
    histogram->counts[slot_of(value)]++;
    histogram->total++;
    if (value > histogram->largest) histogram->largest = value;
}

double histogram_ms(const Histogram *histogram, double share) {
    uint64_t wanted = (uint64_t)(share * (double)histogram->total + 0.999999), seen = 0;
    for (int slot = 0; slot < DOUBLINGS * STEPS && histogram->total > 0; slot++) {
        seen += histogram->counts[slot];
        if (seen >= wanted) return value_of(slot) / 1e6;
    }
    return 0;
}

void histogram_print(const Histogram *histogram, FILE *out) {
    fprintf(out, "{\"count\":%llu,\"p50\":%.3f,\"p95\":%.3f,\"p99\":%.3f,\"max\":%.3f}",
            (unsigned long long)histogram->total, histogram_ms(histogram, 0.5), histogram_ms(histogram, 0.95),
            histogram_ms(histogram, 0.99), (double)histogram->largest / 1e6);
}
